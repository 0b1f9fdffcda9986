"""What it costs to read an engine's page, beside prometheus_client's parser on the same page in the same run."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from agent.engines.exposition import scan, want
from agent.engines.page import read_page
from agent.model import EngineFailure, EngineSample, Instant
from agent.work import WorkState, advance
from tests.bench.harness import Row, median_s, print_table

PAGE = Path(__file__).parents[1] / "data" / "engines" / "vllm_basic" / "idle.prom"
AT = Instant(0.0, 1_790_000_000.0)
NAMES = (  # what a vLLM page is read for
    "vllm:prompt_tokens_total",
    "vllm:prompt_tokens_by_source_total",
    "vllm:prompt_tokens_cached_total",
    "vllm:prefix_cache_hits_total",
    "vllm:gpu_prefix_cache_hits_total",
    "vllm:generation_tokens_total",
    "vllm:request_success_total",
    "vllm:request_finish_total",
    "vllm:num_requests_running",
    "vllm:num_requests_waiting",
    "process_start_time_seconds",
)
BASELINE = "prometheus_client parser"


def run() -> None:
    page = PAGE.read_bytes()
    text = page.decode()
    wanted = want(NAMES)
    state, _ = advance(WorkState(), read_page(page, engine="e", at=AT))
    later = read_page(page, engine="e", at=AT.plus(5.0))

    def theirs() -> object:
        return [f for f in text_string_to_metric_families(text) if f.name in NAMES]

    def step() -> tuple[WorkState, object]:
        seen: EngineSample | EngineFailure = later
        return advance(state, seen)

    rows = [
        Row(BASELINE, median_s(theirs) * 1e3, "ms", f"{len(page):,} bytes, {text.count(chr(10))} lines"),
        Row("scan: the wanted series", median_s(lambda: scan(page, wanted), repeat=101) * 1e3, "ms"),
        Row(
            "read_page, kind known",
            median_s(lambda: read_page(page, engine="e", at=AT, kind="vllm"), repeat=101) * 1e3,
            "ms",
        ),
        Row("read_page, kind auto", median_s(lambda: read_page(page, engine="e", at=AT), repeat=101) * 1e3, "ms"),
        Row("work.advance", median_s(step, repeat=101) * 1e3, "ms", "on top of read_page, a scrape"),
    ]
    print_table("Reading vLLM's page (median; ratio to prometheus_client)", rows, baseline=BASELINE)
