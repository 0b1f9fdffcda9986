"""How much of the energy of a GPU that two engines share is booked to the wrong one.

Simulated engines of different costs take turns on one GPU. In % of each engine's true work after five minutes, floor
of its time included; above 0 is too much. "processes": the driver tells whose processes ran; "as an H100": it tells so
by samples, five a second, each booked to one process; "tokens": it does not, and prices learned from the counters tell
them apart.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.sim.arrivals import CHAT, DOCUMENTS, Arrival, Shape, poisson
from tests.sim.costs import COMPUTE, CONTEXT, EXPERTS, WEIGHTS, Costs
from tests.sim.engine import Engine
from tests.sim.machine import Machine
from tests.sim.play import play

SECONDS, WARM_S = 900.0, 300.0
IDLE_W = 120.0  # of the GPU that they share
TARGET = 0.05
PAIRS: tuple[tuple[Costs, Costs], ...] = (
    (WEIGHTS, EXPERTS),
    (WEIGHTS, COMPUTE),
    (WEIGHTS, CONTEXT),
    (COMPUTE, EXPERTS),
)
Load = Callable[[int], list[Arrival]]


def chance(rate: float, shape: Shape = CHAT) -> Load:
    return lambda seed: poisson(rate, SECONDS, random.Random(seed), shape)


LOADS: tuple[tuple[str, Load, Load], ...] = (
    ("0.05/s, 0.05/s", chance(0.05), chance(0.05)),
    ("0.3/s, 0.3/s", chance(0.3), chance(0.3)),
    ("1/s, 0.2/s", chance(1.0), chance(0.2)),
    ("1/s, long 0.1/s", chance(1.0), chance(0.1, DOCUMENTS)),
    ("3/s, 1/s", chance(3.0), chance(1.0)),
)


@dataclass(frozen=True, slots=True)
class Way:
    """How the driver tells whose processes ran; samples: a second, 0 of an ideal one."""

    title: str
    sm: bool
    samples: int = 0


WAYS = (Way("processes", sm=True), Way("as an H100", sm=True, samples=5), Way("tokens", sm=False))


def errors(pair: tuple[Costs, Costs], loads: tuple[Load, Load], way: Way, seed: int = 1) -> tuple[float, float]:
    """Of the energy of each of the two, as a part of its true one."""
    engines = [
        Engine(name, replace(costs, idle_w=IDLE_W), load(seed + n), model=name)
        for n, (name, costs, load) in enumerate(zip("ab", pair, loads, strict=True))
    ]
    said, _ = play(Machine(engines), SECONDS, warm_s=WARM_S, sm=way.sm, samples=way.samples)
    a, b = (said[name].work_j / said[name].true_work_j - 1 for name in "ab")
    return a, b


def run() -> None:
    print("\nEnergy of models that share a GPU, error in % (above 0: too much)")
    print(f"  {'models':40s}{'loads':18s}" + "".join(f"{way.title:>18s}" for way in WAYS))
    found: dict[Way, list[float]] = {way: [] for way in WAYS}
    for pair in PAIRS:
        for name, first, second in LOADS:
            row = ""
            for way in WAYS:
                both = errors(pair, (first, second), way)
                found[way] += [abs(e) for e in both]
                row += "".join(f"{100 * e:+9.1f}" for e in both)
            print(f"  {pair[0].name + ', ' + pair[1].name:40s}{name:18s}{row}")
    for way, off in found.items():
        mean, over = sum(off) / len(off), sum(e > TARGET for e in off)
        print(f"  {way.title}: mean {mean:.1%}, worst {max(off):.1%}, {over} of {len(off)} over {TARGET:.0%}")


if __name__ == "__main__":
    run()
