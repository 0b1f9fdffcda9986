"""Does the split into phases hold where the simulator is another one than it was made on?

Twenty of the cases of phase_weights, with other arrivals, steps that take longer and shorter while the meter is off,
pages that tell tokens a second late, other times between pages, other chunks of prompts. In % of the work, counters
alone. over: cases that are off by more than 5%; of these sure: with a confidence of 1/2 or more.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.bench.phase_weights import FAR_OFF, SECONDS, SURE, WARM_S
from tests.sim.arrivals import CHAT, DOCUMENTS, Arrival, changing, poisson
from tests.sim.costs import MODELS, Costs
from tests.sim.engine import Engine
from tests.sim.machine import Machine
from tests.sim.play import play


@dataclass(frozen=True, slots=True)
class Variation:
    seed: int = 1
    jitter: float = 0.0
    noise: float = 0.0
    late_s: int = 0
    every_s: float = 5.0
    budget: int = 2048


VARIATIONS = {
    "as it was": Variation(),
    "other arrivals": Variation(seed=2),
    "steps +-20%, meter +-2%": Variation(jitter=0.2, noise=0.02),
    "tokens 1 s late": Variation(late_s=1),
    "a page every 2 s": Variation(every_s=2.0),
    "a page every 15 s": Variation(every_s=15.0),
    "chunks of 512": Variation(budget=512),
    "chunks of 8192": Variation(budget=8192),
}


def _loads(seed: int) -> list[list[Arrival]]:
    return [
        poisson(0.3, SECONDS, random.Random(seed), CHAT),
        poisson(3.0, SECONDS, random.Random(seed), CHAT),
        poisson(1.0, SECONDS, random.Random(seed), DOCUMENTS),
        changing(SECONDS, random.Random(seed)),
    ]


def _off(costs: Costs, arrivals: list[Arrival], v: Variation) -> tuple[float, float]:
    """How far the share of prefill is off, and the confidence."""
    engine = Engine("a", costs, arrivals, budget=v.budget, jitter=v.jitter)
    said, _ = play(Machine([engine]), SECONDS, warm_s=WARM_S, every_s=v.every_s, noise=v.noise, late_s=v.late_s)
    return abs(said["a"].off), said["a"].state.weight_confidence or 0.0


def run() -> None:
    print("\nWork that is booked to the wrong phase, %, where the simulator varies")
    print(f"  {'':26s}{'mean':>7s}{'worst':>7s}{'over':>6s}{'sure':>6s}{'unsure but right':>18s}")
    for name, v in VARIATIONS.items():
        found = [_off(costs, arrivals, v) for costs in MODELS for arrivals in _loads(v.seed)]
        offs = [off for off, _ in found]
        over = [sure for off, sure in found if off > FAR_OFF]
        shy = sum(off <= FAR_OFF and sure < SURE for off, sure in found)
        print(
            f"  {name:26s}{100 * sum(offs) / len(offs):7.1f}{100 * max(offs):7.1f}{len(over):6d}"
            f"{sum(sure >= SURE for sure in over):6d}{shy:18d}"
        )


if __name__ == "__main__":
    run()
