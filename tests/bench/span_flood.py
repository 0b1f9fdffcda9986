"""What ten thousand spans a second cost: answering their exports, and the ticks that attribute what is taken of them.

Exports of 1,000 spans in protobuf come evenly over each second, from senders that try again whatever is sent back. CPU
seconds, since a tick shares the machine with whatever else runs on it.
"""

from __future__ import annotations

import random
import struct
import time
from dataclasses import dataclass, field, replace

from agent import books
from agent.accounts import Rules
from agent.books import Books, Policy
from agent.health import Health
from agent.model import RequestOutcome
from agent.otlp.decode import PROTOBUF
from agent.otlp.receiver import Receiver
from agent.requests import RequestRules
from agent.settings import EngineSettings
from tests.agent.otlp.bodies import VLLM, as_protobuf, span
from tests.bench.harness import Row, print_table
from tests.sim.arrivals import poisson
from tests.sim.costs import LARGE
from tests.sim.engine import Engine
from tests.sim.machine import WALL_S, Machine, watch

SECONDS = 60
BEGIN_S = 10
A_SECOND = 10  # exports
SPANS = 1000  # in each
START_NS, END_NS, MARK = 1_790_000_000_123_456_789, 1_790_000_002_123_456_789, 0xF0F1F2F3


@dataclass
class Flood:
    """The senders, a receiver, and what became of it all."""

    per_s: int = A_SECOND  # exports
    now_s: float = 0.0  # mono
    took_s: list[float] = field(default_factory=list)  # by ticks
    answered_s: float = 0.0
    taken: int = 0
    refused: int = 0  # exports

    def __post_init__(self) -> None:
        settings = EngineSettings("a", "http://127.0.0.1:8000")
        self.receiver = Receiver((settings,), Health(), lambda: 0.0, mono_s=lambda: self.now_s)
        self._body = as_protobuf(
            *(
                span(VLLM, service="a", start=START_NS, end=END_NS, span_id=f"{MARK << 32 | n:016x}")
                for n in range(SPANS)
            )
        )
        self._count = 0

    def second(self, end_s: float) -> None:
        """One second's exports, of requests that ended in it. end_s: Unix seconds."""
        bodies = [self._export(end_s - n / self.per_s) for n in range(self.per_s)]
        began_s = time.thread_time()
        for body in bodies:
            taken = self.receiver.receive(PROTOBUF, "", body).status == 200
            self.taken += SPANS * taken
            self.refused += not taken
        self.answered_s += time.thread_time() - began_s

    def _export(self, end_s: float) -> bytes:
        self._count += 1
        end_ns = int(end_s * 1e9)
        body = self._body.replace(struct.pack("<Q", END_NS), struct.pack("<Q", end_ns))
        body = body.replace(struct.pack("<Q", START_NS), struct.pack("<Q", end_ns - 2_000_000_000))
        return body.replace(struct.pack(">I", MARK), struct.pack(">I", self._count))

    def run(self) -> Books:
        machine = Machine([Engine("a", LARGE, poisson(6.0, SECONDS, random.Random(1)))])
        policy = Policy(rules=Rules(engines={"a": None}), requests=RequestRules())
        state: Books | None = None
        for n, seen in enumerate(watch(machine, SECONDS)):
            self.now_s = seen.at.mono_s
            if BEGIN_S <= n < SECONDS:
                self.second(WALL_S + n)
            spans = self.receiver.drain()
            began_s = time.thread_time()
            state = books.tick(state or books.begin(seen.at, policy), replace(seen, spans=spans), policy)
            if n >= BEGIN_S:
                self.took_s.append(time.thread_time() - began_s)
        assert state is not None
        return state


def run() -> None:
    for per_s in (1, A_SECOND):
        flood = Flood(per_s)
        state = flood.run()
        assert state.requests is not None
        told = state.requests.totals.spans
        became = {outcome.value: sum(n for (_, o), n in told.items() if o is outcome) for outcome in RequestOutcome}
        became = {outcome: n for outcome, n in became.items() if n}
        flooded_s = SECONDS - BEGIN_S
        print_table(
            f"{per_s * SPANS:,} spans a second for {flooded_s} s",
            [
                Row("answering exports", flood.answered_s / flooded_s, "s", "of CPU a second, in the server's thread"),
                Row("exports sent back", flood.refused, "", "429, each counted: senders try again"),
                Row("spans taken", flood.taken, "", f"{flood.receiver.waiting} wait for the loop at the end"),
                Row("of these told of", sum(told.values()), "", ", ".join(f"{n} {o}" for o, n in became.items())),
                Row("tick, median", sorted(flood.took_s)[len(flood.took_s) // 2], "s", "of CPU"),
                Row("tick, slowest", max(flood.took_s), "s", "of CPU; above 1 s ticks are skipped"),
            ],
        )


if __name__ == "__main__":
    run()
