"""Reading a trace: 8 GPUs at every tick, an engine's page of 50 KB at every fifth. A tick is one second of real time,
and a replay has to be 1,000 times faster, for everything it does: the reading should take a third of that at most."""

from __future__ import annotations

import json

from agent.model import Device, DeviceKind, Instant, ProcessUse, Reading
from agent.trace import Tick, TraceEngine, encode_tick, read_trace
from tests.bench.harness import Row, median_s, print_table

TICKS = 500
PAGE = '# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total{engine="0",model_name="m"} 123456.0\n' * 500


def tick(i: int) -> Tick:
    at = Instant(float(i), 1_790_000_000.0 + i)
    readings = tuple(
        Reading(
            Device(DeviceKind.GPU, f"GPU-{gpu:08d}-1111-2222-3333-444444444444"),
            at.plus(0.001 * gpu),
            energy_j=1000.123 * i + gpu,
            power_w=350.5 + gpu,
            max_power_w=700.0,
            name="NVIDIA H100 80GB HBM3",
            index=gpu,
            processes=(ProcessUse(1000 + gpu, 0.93),) if gpu == 0 else None,
        )
        for gpu in range(8)
    )
    engines = (TraceEngine("vllm", at, page=PAGE),) if i % 5 == 0 else ()
    return Tick(at, readings, engines)


def run() -> None:
    ticks = [tick(i) for i in range(TICKS)]
    lines = [encode_tick(t) for t in ticks]

    def read_all() -> None:
        for _ in read_trace(lines):
            pass

    def json_alone() -> None:
        for line in lines:
            json.loads(line)

    def write_all() -> None:
        for t in ticks:
            encode_tick(t)

    read_ms = median_s(read_all, repeat=5) / TICKS * 1e3
    rows = [
        Row("read_trace", read_ms, "ms", f"a tick: {1e3 / read_ms:,.0f} times real time; target below 0.3 ms"),
        Row("json.loads alone", median_s(json_alone, repeat=5) / TICKS * 1e3, "ms", "a tick"),
        Row("encode_tick", median_s(write_all, repeat=5) / TICKS * 1e3, "ms", "a tick"),
    ]
    print_table("Trace: 8 GPUs a tick, a page of 50 KB every fifth", rows, baseline="json.loads alone")
