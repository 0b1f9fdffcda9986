"""How much of the work is booked to the wrong phase, by the way in which phases are weighed.

A simulated engine, five models of cost, from one request at a time to saturation, with short prompts and long ones. In
% of the work after five minutes; above 0 is too much to prefill. The first four columns see windows of 5 s with the
true busy time; the next one is the agent itself, which has to find out what was busy, and says how sure it is. It must
never be much worse than the fixed weight, nor sure of what is far off. "work" is how far its work is from the true one:
what of the idle floor it took for work, in %. The last table holds what the agent says of its error against the error.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise

from agent.learn import CLOSE
from agent.model import EngineSample, Quantity
from agent.nnls import nnls
from tests.sim.arrivals import DOCUMENTS, Arrival, azure, changing, poisson
from tests.sim.costs import MODELS, Costs
from tests.sim.engine import Engine
from tests.sim.machine import Machine, watch
from tests.sim.play import play

SECONDS, WARM_S, EVERY_S = 900.0, 300.0, 5.0
HALF_LIFE = 180  # windows, of the designs that see windows
SURE, FAR_OFF, WORSE = 0.5, 0.05, 0.02
LEVELS = (1.0, 0.9, 0.75, 0.5, 0.2, 0.0)  # of confidence
LOADS: dict[str, Callable[[], list[Arrival]]] = {
    "0.05/s": lambda: poisson(0.05, SECONDS, random.Random(1)),
    "0.3/s": lambda: poisson(0.3, SECONDS, random.Random(1)),
    "1/s": lambda: poisson(1.0, SECONDS, random.Random(1)),
    "3/s": lambda: poisson(3.0, SECONDS, random.Random(1)),
    "9/s": lambda: poisson(9.0, SECONDS, random.Random(1)),
    "Azure 2/s": lambda: azure(2.0, SECONDS),
    "long 0.1/s": lambda: poisson(0.1, SECONDS, random.Random(1), DOCUMENTS),
    "long 1/s": lambda: poisson(1.0, SECONDS, random.Random(1), DOCUMENTS),
    "long 3/s": lambda: poisson(3.0, SECONDS, random.Random(1), DOCUMENTS),
    "changing": lambda: changing(SECONDS, random.Random(1)),
}
Window = tuple[float, float, float, float, float, float, float, float]  # joules, busy s, P, G, F, S, true prefill, work
DESIGNS: dict[str, Callable[[Window], list[float]]] = {
    "two prices": lambda w: [w[2], w[3]],
    "+ busy time": lambda w: [w[2], w[3], w[1]],
    "+ steps": lambda w: [w[2], max(0.0, w[3] - w[4]), w[5]],
}


def windows(costs: Costs, arrivals: Sequence[Arrival]) -> list[Window]:
    """Work of every window: joules of busy time, floor included, and what was counted."""
    engine = Engine("a", costs, arrivals)
    machine = Machine([engine])
    out: list[Window] = []
    last = (0.0,) * 8
    for seen in watch(machine, SECONDS, every_s=EVERY_S, drain=False):
        for page in seen.engines:
            assert isinstance(page, EngineSample)
            by = {k.quantity: v for k, v in page.counters.items()}
            tokens = (by[Quantity.PROMPT_COMPUTED], by[Quantity.GENERATED])
            now = (
                machine.energy_j - machine.idle_j,
                sum(machine.busy_s.values()),
                *tokens,
                by[Quantity.FIRST_TOKENS],
                by[Quantity.STEPS],
                engine.truth.prefill_j,
                engine.truth.work_j,
            )
            w = [b - a for a, b in zip(last, now, strict=True)]
            out.append((w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]))
            last = now
    return out


def off(seen: Sequence[Window], design: Callable[[Window], list[float]] | None) -> float:
    """Prefill's share as that design finds it, less the true one. None: the fixed weight."""
    size = 0 if design is None else len(design(seen[0]))
    gram, right = [[0.0] * size for _ in range(size)], [0.0] * size
    prefill_j = work_j = true_j = true_work_j = 0.0
    keep = 0.5 ** (1 / HALF_LIFE)
    for k, w in enumerate(seen):
        x = [] if design is None else design(w)
        for i in range(size):
            right[i] = keep * right[i] + x[i] * w[0]
            gram[i] = [keep * g + x[i] * xj for g, xj in zip(gram[i], x, strict=True)]
        if k * EVERY_S < WARM_S:
            continue
        if design is None:
            prefill, decode = 0.12 * w[2], w[3]
        else:
            price = nnls(gram, right)
            part = w[4] / w[3] if w[3] > 0 else 0.0  # of the sequences in all steps, prompts
            joint = sum(c * v for c, v in zip(price[2:], x[2:], strict=True))
            prefill, decode = price[0] * x[0] + joint * part, price[1] * x[1] + joint * (1 - part)
        if prefill + decode > 0:
            prefill_j, work_j = prefill_j + w[0] * prefill / (prefill + decode), work_j + w[0]
        true_j, true_work_j = true_j + w[6], true_work_j + w[7]
    return prefill_j / work_j - true_j / true_work_j


def run() -> None:
    names = ["0.12", *DESIGNS, "agent", "with spans"]
    print("\nWork that is booked to the wrong phase, % (above 0: too much to prefill)")
    print(
        f"  {'':20s}{'':11s}{'prefill is':>11s}"
        + "".join(f"{n:>13s}" for n in names)
        + f"{'confidence':>12s}{'work':>8s}"
    )
    worst: dict[str, list[float]] = {n: [] for n in names}
    works: list[float] = []
    stated: list[tuple[float, float]] = []
    unsafe = 0
    for costs in MODELS:
        for load, arrivals in LOADS.items():
            seen = windows(costs, arrivals())
            said = play(Machine([Engine("a", costs, arrivals())]), SECONDS, warm_s=WARM_S)[0]["a"]
            told = play(Machine([Engine("a", costs, arrivals())]), SECONDS, warm_s=WARM_S, spans=True)[0]["a"]
            found = [off(seen, None), *(off(seen, d) for d in DESIGNS.values()), said.off, told.off]
            for name, value in zip(names, found, strict=True):
                worst[name].append(abs(value))
            row = "".join(f"{100 * v:+13.1f}" for v in found)
            work = said.work_j / said.true_work_j - 1
            works.append(abs(work))
            sure = said.state.weight_confidence or 0.0
            stated.append((sure, abs(said.off)))
            bad = abs(said.off) > abs(found[0]) + WORSE or (abs(said.off) > FAR_OFF and sure >= SURE)
            unsafe += bad
            mark = " *" if bad else ""
            print(f"  {costs.name:20s}{load:11s}{100 * said.true_share:11.1f}{row}{sure:12.2f}{100 * work:+8.1f}{mark}")
    for title, of in (("mean", lambda v: sum(v) / len(v)), ("worst", max)):
        row = "".join(f"{100 * of(worst[n]):13.1f}" for n in names)
        print(f"  {title:42s}{row}{'':12s}{100 * of(works):8.1f}")
    print(f"  {unsafe} marked *: the agent is {WORSE:.0%} worse than the fixed weight, or sure and {FAR_OFF:.0%} off")
    calibration(stated)


def calibration(stated: Sequence[tuple[float, float]]) -> None:
    """stated: the confidence and the error of each case."""
    print(
        f"  {'confidence':>14s}{'says an error of':>20s}{'cases':>7s}{'error':>8s}{'worst':>7s}   (root mean square, %)"
    )
    for high, low in pairwise(LEVELS):
        here = [off for sure, off in stated if low <= sure and (sure < high or high == LEVELS[0])]
        if here:
            rms, says = math.sqrt(sum(v * v for v in here) / len(here)), f"{_error(high):.1f} to {_error(low):.1f}"
            print(f"  {low:>7.2f} - {high:.2f}{says:>19s}{len(here):>7d}{100 * rms:>8.1f}{100 * max(here):>7.1f}")


def _error(confidence: float) -> float:
    """What a confidence says, in %."""
    return 100 * CLOSE * math.sqrt(1 / confidence - 1) if confidence > 0 else math.inf


if __name__ == "__main__":
    run()
