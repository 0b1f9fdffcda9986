"""`joulecar replay`: formats, and traces that cannot be read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent import cli
from agent.demo.simulated import simulated_trace

Run = tuple[int, str, str]


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trace") / "simulated.jsonl.gz"
    with gzip.open(path, "wt") as out:
        out.writelines(line if line.endswith("\n") else line + "\n" for line in simulated_trace())
    return path


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> Run:
    code = cli.main(["replay", *argv])
    said = capsys.readouterr()
    return code, said.out, said.err


def samples(page: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(page):
        for s in family.samples:
            yield s.name, s.labels, s.value


def test_the_scrape_of_the_bundled_trace_adds_up(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    code, page, err = run(capsys, str(trace), "--format", "prometheus")
    assert (code, err) == (0, "")
    found = list(samples(page))

    def total(name: str, **labels: str) -> float:
        return sum(v for n, have, v in found if n == name and labels.items() <= have.items())

    for kind in ("gpu", "cpu", "dram"):
        devices = total("joulecar_device_energy_joules_total", kind=kind)
        assert devices > 0
        assert total("joulecar_energy_joules_total", kind=kind) == pytest.approx(devices, rel=1e-9)
        assert total("joulecar_energy_pending_joules", kind=kind) == 0
    # The sums of the pages' own counters, the engine's restart in the middle included.
    assert total("joulecar_tokens_total", type="prompt_computed") == 1_111_955
    assert total("joulecar_tokens_total", type="prompt_cached") == 603_856
    assert total("joulecar_tokens_total", type="generated") == 152_164


def test_json_and_table_tell_the_same_joules(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    _, text, _ = run(capsys, str(trace), "--format", "json")
    _, table, _ = run(capsys, str(trace))
    joules = sum(d["energy_j"] for d in json.loads(text)["devices"])
    assert f"{joules:,.0f}" in table


def test_replaying_twice_gives_the_same_page(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    assert run(capsys, str(trace), "--format", "prometheus") == run(capsys, str(trace), "--format", "prometheus")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no ticks in it"),
        ('{"mono_s": 1, "wall_s": 2}\n{"mono_s": oops}\n', "line 2: "),
        ('{"mono_s": 2, "wall_s": 2}\n\n{"mono_s": 1, "wall_s": 2}\n', "line 3: mono_s goes back from 2.0 to 1.0"),
        ('{"wall_s": 2}\n', "line 1: "),
        ('{"mono_s": 1, "wall_s": 2, "readings": [{"device": "x", "kind": "tpu"}]}\n', "line 1: "),
    ],
)
def test_a_trace_that_cannot_be_read_is_one_line_that_says_where(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(text)
    code, out, err = run(capsys, str(path))
    assert (code, out) == (1, "")
    assert err.startswith("joulecar: ")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["killed.jsonl", "killed.jsonl.gz"])
def test_the_trace_of_an_agent_that_was_killed_is_replayed_as_far_as_it_goes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    ticks = [{"mono_s": t, "wall_s": 1e9 + t, "readings": [{"device": "package-0", "kind": "cpu", "energy_j": 5.0 * t}]}
             for t in range(30)]  # fmt: skip
    lines = [json.dumps(tick) + "\n" for tick in ticks]
    path = tmp_path / name
    if name.endswith(".gz"):
        with path.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb") as out:
            for line in lines:
                out.write(line.encode())
                out.flush()
        path.write_bytes(path.read_bytes()[:-30])
    else:
        path.write_text("".join(lines)[:-30])
    code, page, err = run(capsys, str(path), "--format", "prometheus")
    assert code == 0
    assert "what is before it is replayed" in err and err.count("\n") == 1
    joules = [v for n, _, v in samples(page) if n == "joulecar_device_energy_joules_total"]
    assert joules == [5.0 * 28]


def test_a_missing_trace_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, err = run(capsys, str(tmp_path / "none.jsonl"))
    assert code == 1
    assert "none.jsonl: No such file" in err


def test_a_yearly_factor_prices_a_replay(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "joulecar.toml"
    config.write_text("[grid]\nfixed_g_per_kwh = 360\n\n[site]\npue = 1.5\n")
    path = tmp_path / "t.jsonl"
    ticks = [
        {"mono_s": t, "wall_s": 1e9 + t, "readings": [{"device": "w", "kind": "host", "power_w": 1000.0}]}
        for t in range(37)
    ]
    path.write_text("\n".join(map(json.dumps, ticks)))
    _, page, _ = run(capsys, str(path), "--config", str(config), "--format", "prometheus")
    grams = [v for n, have, v in samples(page) if n == "joulecar_emissions_gco2e_total"]
    assert grams == [pytest.approx(36_000 / 3.6e6 * 360 * 1.5)]


def test_requests_of_the_bundled_trace_and_the_rest_are_its_prefill_and_decode(
    capsys: pytest.CaptureFixture[str], trace: Path, tmp_path: Path
) -> None:
    out = tmp_path / "requests.jsonl"
    rc, page, _ = run(capsys, str(trace), "--format", "prometheus", "--requests", str(out))
    assert rc == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    told = list(samples(page))
    sums = {name: sum(v for n, _, v in told if n == name) for name, _, _ in told}
    active_j = sum(
        v for n, labels, v in told if n == "joulecar_energy_joules_total" and labels["use"] in ("prefill", "decode")
    )
    assert len(found) == sums["joulecar_request_energy_joules_count"] > 500
    given_j = sums["joulecar_request_energy_joules_sum"]
    assert sum(r["energy_j"] for r in found) == pytest.approx(given_j, rel=1e-9)
    assert given_j + sums["joulecar_request_unclaimed_joules"] == pytest.approx(active_j, rel=1e-9)
    assert 0.9 * active_j < given_j < active_j
