"""Recorded wall power of MLPerf runs, replayed: joules per output token as the published figures have them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.clock import SystemClock
from agent.commands.replay import final, shown
from agent.settings import Settings

DATA = Path(__file__).parents[1] / "data" / "mlperf_power"
STAMP = "%m-%d-%Y %H:%M:%S.%f"


def seconds(text: str) -> float:
    return datetime.strptime(text, STAMP).replace(tzinfo=UTC).timestamp()


def bound(folder: Path, key: str) -> float:
    text = (folder / "mlperf_log_detail.excerpt.txt").read_text()
    found = re.search(rf'"key": "{key}", "value": "([^"]+)"', text)
    assert found is not None
    return seconds(found[1])


def tokens_per_s(folder: Path) -> float:
    found = re.search(
        r"(?:Completed tokens per second|Tokens per second \(inferred\))\s*: ([0-9.]+)",
        (folder / "mlperf_log_summary.txt").read_text(),
    )
    assert found is not None
    return float(found[1])


def page(tokens: float) -> str:
    return (
        "# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{model_name="model"} 64\n'
        "# TYPE vllm:prompt_tokens_total counter\n"
        'vllm:prompt_tokens_total{model_name="model"} 0\n'
        "# TYPE vllm:generation_tokens_total counter\n"
        f'vllm:generation_tokens_total{{model_name="model"}} {tokens}\n'
    )


def trace(folder: Path) -> Iterator[str]:
    begin_s, end_s, rate = bound(folder, "power_begin"), bound(folder, "power_end"), tokens_per_s(folder)
    first: float | None = None
    for line in (folder / "spl.txt").read_text().splitlines():
        _, stamp, _, watts = line.split(",")
        wall_s = seconds(stamp)
        if begin_s <= wall_s <= end_s:
            first = wall_s if first is None else first
            reading = {"device": "spl", "kind": "host", "name": "8xH200 node", "power_w": float(watts)}
            engine = {"engine": "mlperf", "page": page(rate * (wall_s - first))}
            yield json.dumps({"mono_s": wall_s - begin_s, "wall_s": wall_s, "readings": [reading], "engines": [engine]})


@pytest.mark.parametrize(
    ("run", "j_per_token", "mean_w"),
    [("llama2-70b-99-server", 0.2717, 6280.2), ("gptj-99-offline", 0.3646, 4775.3)],
)
def test_joules_per_output_token_within_two_in_a_thousand(
    run: str, j_per_token: float, mean_w: float, tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(trace(DATA / run)))
    scrape = shown(final([path], Settings(), SystemClock()).snapshot(), "prometheus")
    samples = [s for f in text_string_to_metric_families(scrape) for s in f.samples]

    def total(name: str, **labels: str) -> float:
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    joules = total("joulecar_energy_joules_total", engine="mlperf", model="model")
    tokens = total("joulecar_tokens_total", engine="mlperf", type="generated")
    assert joules / tokens == pytest.approx(j_per_token, rel=0.002)
    assert joules == pytest.approx(total("joulecar_device_energy_joules_total"), rel=1e-9)
    seconds_run = bound(DATA / run, "power_end") - bound(DATA / run, "power_begin")
    assert joules / seconds_run == pytest.approx(mean_w, rel=0.002)
