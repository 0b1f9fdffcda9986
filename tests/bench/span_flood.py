"""What ten thousand spans a second cost: reading an export, and the tick that attributes them."""

from __future__ import annotations

import random
import time
from dataclasses import replace

from agent import books
from agent.accounts import Rules
from agent.books import Books, Policy
from agent.health import Health
from agent.model import RequestSpan
from agent.otlp.decode import PROTOBUF
from agent.otlp.receiver import Receiver
from agent.requests import RequestRules
from tests.agent.otlp.bodies import VLLM, as_protobuf, span
from tests.bench.harness import Row, median_s, print_table
from tests.sim.arrivals import poisson
from tests.sim.costs import LARGE
from tests.sim.engine import Engine
from tests.sim.machine import WALL_S, Machine, watch

SPANS = 10_000


def run() -> None:
    body = as_protobuf(*(span(VLLM, span_id=f"{n + 1:016x}") for n in range(1000)))
    receiver = Receiver((), Health(), lambda: 0.0, max_spans=100_000)

    def receive() -> None:
        receiver.receive(PROTOBUF, "", body)
        receiver.drain()

    took_s = _ticks()
    print_table(
        "Ten thousand spans a second",
        [
            Row("read 10,000 spans", median_s(receive, repeat=5) * 10, "s", "protobuf, 1,000 in each export"),
            Row("tick, 10,000 new spans", sorted(took_s)[len(took_s) // 2], "s", "median; what is too much is dropped"),
            Row("slowest tick", max(took_s), "s"),
        ],
    )


def _ticks() -> list[float]:
    engine = Engine("a", LARGE, poisson(6.0, 60, random.Random(1)))
    policy = Policy(rules=Rules(engines={"a": None}), requests=RequestRules())
    state: Books | None = None
    took_s: list[float] = []
    for n, seen in enumerate(watch(Machine([engine]), 60)):
        spans = tuple(_span(n, k) for k in range(SPANS)) if n >= 10 else ()
        began_s = time.perf_counter()
        state = books.tick(state or books.begin(seen.at, policy), replace(seen, spans=spans), policy)
        if spans:
            took_s.append(time.perf_counter() - began_s)
    return took_s


def _span(second: int, k: int) -> RequestSpan:
    end_s = WALL_S + second - k / SPANS
    return RequestSpan(
        "a", end_s - 2.0, end_s, trace_id=f"{second:016x}{k:016x}", span_id=f"{k:016x}", queue_s=0.0, prefill_s=0.1,
        decode_s=1.9, prompt_tokens=100.0, cached_tokens=0.0, generated_tokens=50.0,
    )  # fmt: skip
