"""Debian's prometheus keeps the traces that the buckets of a request's energy name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.agent.otlp.bodies import as_protobuf
from tests.e2e.conftest import Figure
from tests.e2e.test_spans import GPU, request
from tests.e2e.worlds import BRISK, GPUS_ALONE, engine, send_spans
from tests.fakes.daemon import Daemon
from tests.fakes.engine import FakeEngine
from tests.fakes.nvml.driver import FakeDriver, FakeGpu
from tests.fakes.prometheus import Prometheus

pytestmark = pytest.mark.e2e

METRIC = "joulecar_request_energy_joules_bucket"


def test_a_bucket_leads_to_a_trace(tmp_path: Path, figure: Figure) -> None:
    driver = FakeDriver(tmp_path / "driver", [FakeGpu(GPU, power_w=400.0)], log_calls=False)
    flags = ["--enable-feature=exemplar-storage"]
    with FakeEngine() as served:
        config = "\n".join([BRISK, GPUS_ALONE, engine("a", served.url), '[otlp]\nlisten = "127.0.0.1:0"'])
        config += "\n[attribution]\nprefill_weight = 0.12\n"  # else requests wait a minute for prices that are learned
        served.change(generated_per_s=80.0, prompt_per_s=200.0, requests_per_s=2.0)
        with (
            Daemon(tmp_path / "agent", config, env=driver.env()) as agent,
            Prometheus(tmp_path / "prometheus", agent.url.split("/")[2], flags=flags) as prometheus,
        ):
            agent.wait_for(lambda s: bool(s.all("joulecar_tokens_total")))
            agent.scrape_for(3.0)
            body = as_protobuf(*(request(n, ended_ago_s=0.1 + 0.2 * n) for n in range(1, 6)))
            send_spans(agent, body)
            agent.wait_for(lambda s: s.total("joulecar_request_energy_joules_count") == 5, 40.0)
            agent.scrape_for(3.0)
            asked = {"query": METRIC, "start": f"{time.time() - 120:.0f}", "end": f"{time.time():.0f}"}
            told: dict[str, Any] = httpx.get(
                f"{prometheus.url}/api/v1/query_exemplars", params=asked, trust_env=False
            ).json()
            base = agent.url.removesuffix("/metrics")
            for series in told["data"]:
                for exemplar in series["exemplars"]:
                    trace = exemplar["labels"]["trace_id"]
                    (one,) = httpx.get(f"{base}/requests.json?trace_id={trace}", trust_env=False).json()["requests"]
                    assert one["energy_j"] == pytest.approx(float(exemplar["value"]))
    kept = {e["labels"]["trace_id"] for series in told["data"] for e in series["exemplars"]}
    assert kept and kept <= {f"{n:032x}" for n in range(1, 6)}
    figure(f"prometheus keeps {len(kept)} traces as exemplars of {METRIC}")
