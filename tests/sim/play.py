"""The simulator through the agent's own books: what they say beside the truth."""

from __future__ import annotations

from dataclasses import dataclass

from agent import books
from agent.accounts import Rules
from agent.books import Books, Policy
from agent.model import EngineState, Use
from agent.requests import RequestRules
from tests.sim.engine import Engine
from tests.sim.machine import Machine, watch
from tests.sim.spans import with_spans


@dataclass(frozen=True, slots=True)
class Said:
    """Of one engine, from the end of the warm-up on: joules booked, joules true."""

    prefill_j: float
    decode_j: float
    true_prefill_j: float
    true_decode_j: float
    state: EngineState

    @property
    def work_j(self) -> float:
        return self.prefill_j + self.decode_j

    @property
    def true_work_j(self) -> float:
        return self.true_prefill_j + self.true_decode_j

    @property
    def true_share(self) -> float:
        """Of prefill in what the engine worked."""
        return self.true_prefill_j / self.true_work_j

    @property
    def off(self) -> float:
        """The part of the work that is booked to the wrong phase; above 0: too much to prefill."""
        return self.prefill_j / self.work_j - self.true_share


def play(
    machine: Machine,
    seconds: float,
    *,
    weight: float | None = None,
    warm_s: float = 0.0,
    sm: bool = False,
    samples: int = 0,
    spans: bool = False,
    every_s: float = 5.0,
    noise: float = 0.0,
    late_s: int = 0,
) -> tuple[dict[str, Said], Books]:
    """Serve for that long; weight: a configured one, None: learned. spans: every request sends one. sm, samples,
    every_s, noise, late_s: as watch() has them."""
    rules = Rules(engines={e.name: None for e in machine.engines}, prefill_weight=weight)
    policy = Policy(rules=rules, requests=RequestRules() if spans else None)
    ticks = watch(machine, seconds, every_s=every_s, sm=sm, samples=samples, drain=False, noise=noise, late_s=late_s)
    state: Books | None = None
    before: dict[tuple[str, Use], float] = {}
    truth = {e.name: (0.0, 0.0) for e in machine.engines}
    warm = False
    for second, seen in enumerate(with_spans(ticks, machine.engines) if spans else ticks):
        state = books.tick(state or books.begin(seen.at, policy), seen, policy)
        if not warm and second >= warm_s:
            warm, before = True, _by_use(state)
            truth = {e.name: (e.truth.prefill_j, e.truth.decode_j) for e in machine.engines}
    assert state is not None
    states = {e.engine: e for e in books.snapshot(state, policy).engines}
    state = books.finish(state, policy)
    after = _by_use(state)

    def said(e: Engine) -> Said:
        prefill, decode = ((e.name, use) for use in (Use.PREFILL, Use.DECODE))
        return Said(
            after.get(prefill, 0.0) - before.get(prefill, 0.0),
            after.get(decode, 0.0) - before.get(decode, 0.0),
            e.truth.prefill_j - truth[e.name][0],
            e.truth.decode_j - truth[e.name][1],
            states[e.name],
        )

    return {e.name: said(e) for e in machine.engines}, state


def _by_use(state: Books) -> dict[tuple[str, Use], float]:
    out: dict[tuple[str, Use], float] = {}
    for (engine, _, use, _), joules in state.ledger.energy_j.items():
        out[engine, use] = out.get((engine, use), 0.0) + joules
    return out
