"""How far the energy of a request is from the truth, on made-up engines whose every joule has a known cause.

Error: |told - true| / true of each request. in band: how many truths lie within the error band that goes with the
figure. left: energy of prefill and decode that no request was given. Every request has a span unless the load says so.
The agent starts with the load and knows nothing; later: requests that came after two minutes.
"""

from __future__ import annotations

import math
import random

from agent.accounts import Rules
from agent.books import Policy
from agent.model import Use
from agent.requests import RequestRules
from tests.sim.arrivals import AGENTS, CHAT, DOCUMENTS, Arrival, Shape, azure, poisson
from tests.sim.costs import MODELS, Costs
from tests.sim.engine import Engine
from tests.sim.machine import WALL_S, Machine, watch
from tests.sim.spans import Found, with_spans
from tests.sim.spans import run as play

LATER_S = 120.0
LOADS: tuple[tuple[str, float, float, Shape | None, int], ...] = (  # name, rate, seconds, shape, one span in
    ("chat 0.05/s", 0.05, 3000, CHAT, 1),
    ("chat 0.5/s", 0.5, 600, CHAT, 1),
    ("chat 2/s", 2.0, 400, CHAT, 1),
    ("chat 2/s, half with spans", 2.0, 400, CHAT, 2),
    ("agents, cached, 1/s", 1.0, 400, AGENTS, 1),
    ("azure 2/s", 2.0, 400, None, 1),
    ("chat 6/s", 6.0, 300, CHAT, 1),
    ("documents 1/s", 1.0, 400, DOCUMENTS, 1),
)


def run() -> None:
    print("\nEnergy of a request against the truth of a made-up engine")
    print(
        f"  {'model':<20} {'load':<26} {'requests':>8} {'median':>7} {'p95':>7} {'later':>7} {'p95':>7} {'in band':>8} "
        f"{'left':>6} {'sum':>9}"
    )
    worst = [0.0] * 4
    for costs in MODELS:
        for name, rate, seconds, shape, every in LOADS:
            row = _row(costs, name, rate, seconds, shape, every)
            worst = [max(a, b) for a, b in zip(worst, row, strict=True)]
    median, p95, later, later_p95 = worst
    print(f"  worst: median {median:.1%}, p95 {p95:.1%}; later {later:.1%}, {later_p95:.1%}; targets 10% and 30%")


def _row(costs: Costs, name: str, rate: float, seconds: float, shape: Shape | None, every: int) -> list[float]:
    arrivals: list[Arrival] = azure(rate, seconds) if shape is None else poisson(rate, seconds, random.Random(5), shape)
    engine = Engine("a", costs, arrivals)
    policy = Policy(rules=Rules(engines={"a": None}), requests=RequestRules())
    found = play(with_spans(watch(Machine([engine]), seconds), [engine], every=every), policy)
    truth = {f"a-{n}": s.prefill_j + s.decode_j for n, s in enumerate(engine.served)}
    errors = [abs(r.energy_j - truth[k]) / truth[k] for k, r in found.requests.items()]
    later = [error for error, r in zip(errors, found.requests.values(), strict=True) if r.start_s - WALL_S > LATER_S]
    inside = [r.low_j <= truth[k] <= r.high_j for k, r in found.requests.items() if r.low_j and r.high_j]
    row = [at for some in (sorted(errors), sorted(later)) for at in (some[len(some) // 2], some[int(0.95 * len(some))])]
    left, off = _balance(found)
    print(
        f"  {costs.name:<20} {name:<26} {len(errors):>8} {row[0]:>7.1%} {row[1]:>7.1%} {row[2]:>7.1%} {row[3]:>7.1%} "
        f"{sum(inside) / max(1, len(inside)):>8.0%} {left:>6.1%} {off:>9.0e}"
    )
    return row


def _balance(found: Found) -> tuple[float, float]:
    """What is left, of all active energy; and by how much requests and what is left miss it."""
    shares = found.books.ledger.energy_j.items()
    active_j = math.fsum(j for (_, _, use, _), j in shares if use in (Use.PREFILL, Use.DECODE))
    assert found.books.requests is not None
    left_j = found.books.requests.left_j
    given_j = math.fsum(r.energy_j for r in found.requests.values())
    return left_j / active_j, abs(given_j + left_j - active_j) / active_j
