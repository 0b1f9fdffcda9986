"""The tables that the benchmark prints: pure functions of what was measured."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from tests.bench.real_gpu.asked import Asked, Load
from tests.bench.real_gpu.beside import Told
from tests.bench.real_gpu.one_engine import OneEngine
from tests.bench.real_gpu.two_engines import ENGINES, Step, TwoEngines

ALONE = "prefill_alone"  # the load whose price of a prompt's token is the truth of prompts elsewhere


def one_engine_table(found: OneEngine) -> str:
    machine = found.machine
    lines = [
        f"A real GPU: {machine.gpu}, driver {machine.driver}, {machine.rest_w:.1f} W at rest with the model loaded",
        *_loads(found),
        *_alone(found),
        *_cost(found),
    ]
    return "\n".join(lines + [f"  failed: {error}" for error in found.errors[:5]])


def two_engines_table(found: TwoEngines) -> str:
    """What each engine draws alone above rest is the truth of its share while both are asked."""
    first, second = ENGINES
    both_known = [step for step in found.steps if step.known == ENGINES]
    alone_j = {step.asked[0]: step.above_rest_j for step in both_known if len(step.asked) == 1}
    true_share = _part(alone_j[first], math.fsum(alone_j.values()))
    summary = f"  {first}'s share by what each draws alone: {_percent(true_share)}"
    shares = [_share(step) for step in both_known if len(step.asked) == len(ENGINES)]
    known = [share for share in shares if share is not None]
    if known:
        summary += f"; by Joulecar in the mean of {len(known)}: {_percent(statistics.mean(known))}"
    lines = [
        "Two engines on one GPU, in joules: what they draw above rest; what is booked, with the rest of its time in it",
        f"  {'asked':<16} {'above rest':>11} {first:>11} {second:>11} {'others':>11} {first + ' of both':>13}",
        *(_step(step) for step in both_known),
        summary,
        f"  beside an agent that knows {first} alone and to which {second} is a stranger",
        *(_step(step) for step in found.steps if step.known != ENGINES),
        _balance(found.imbalance),
    ]
    return "\n".join(lines + [f"  failed: {error}" for error in found.errors[:5]])


def given_j(load: Load, told: Mapping[str, Told]) -> float | None:
    """What Joulecar gives to the requests of a load. None: it tells of none of them."""
    mine = [told[a.trace_id].energy_j for a in load.asked if a.trace_id in told]
    return math.fsum(mine) if mine else None


def truth_j(asked: Asked, rest_w: float) -> float:
    """Of a request that ran alone: its joules above rest, and those at rest for as long as it took."""
    assert asked.above_rest_j is not None
    return asked.above_rest_j + rest_w * (asked.end_s - asked.start_s)


def _loads(found: OneEngine) -> list[str]:
    """The last two columns are parts of the load's joules. Rest between the requests of a thin load is nobody's."""
    head = f"  {'load':<22} {'seconds':>8} {'requests':>9} {'told':>6} {'the GPU':>11} {'Joulecar':>11} {'off by':>8}"
    lines = [f"{head} {'prompts alone':>14} {'Joulecar':>9}"]
    price_j = next(load.joules / load.prompt for load in found.loads if load.name == ALONE)  # of a token
    for load in found.loads:
        told = [found.told[a.trace_id] for a in load.asked if a.trace_id in found.told]
        line = f"  {load.name:<22} {load.seconds:>8.1f} {len(load.asked):>9} {len(told):>6} {load.joules:>9.1f} J "
        joules = given_j(load, found.told)
        # Of single requests the rests between them are none of theirs.
        if joules is None or any(a.above_rest_j is not None for a in load.asked):
            lines.append(f"{line}{_joules(joules)}")
            continue
        prompts, said = price_j * load.prompt / load.joules, math.fsum(t.prefill_j for t in told) / load.joules
        lines.append(f"{line}{_joules(joules)} {_signed(joules / load.joules - 1)} {prompts:>14.1%} {said:>9.1%}")
    return lines


def _alone(found: OneEngine) -> list[str]:
    lines = [
        f"  {'a request alone':<22} {'prompt':>8} {'answer':>9} {'':>6} {'truth':>11} {'Joulecar':>11} {'off by':>8}"
    ]
    errors, inside = [], 0
    for asked in (a for load in found.loads for a in load.asked if a.above_rest_j is not None):
        told, truth = found.told.get(asked.trace_id), truth_j(asked, found.machine.rest_w)
        error = None if told is None or truth <= 0 else told.energy_j / truth - 1
        in_band = (
            told is not None
            and told.low_j is not None
            and told.high_j is not None
            and told.low_j <= truth <= told.high_j
        )
        inside += in_band
        errors += [] if error is None else [abs(error)]
        lines.append(
            f"  {asked.load:<22} {asked.prompt:>8} {asked.generated:>9} {'':>6} {truth:>9.1f} J "
            f"{_joules(None if told is None else told.energy_j)} {_signed(error)}  "
            f"{'not told' if told is None else 'in the band' if in_band else 'not in the band'}"
        )
    if errors:
        median, most = statistics.median(errors), max(errors)
        lines.append(
            f"  off by {median:.1%} in the median, {most:.1%} at most; {inside} of {len(errors)} in their bands"
        )
    return lines


def _cost(found: OneEngine) -> list[str]:
    speeds = {load.name: load.generated / load.seconds for load in found.loads if load.name.startswith("without")}
    without, beside = speeds["without_agent"], speeds["without_spans_beside"]
    return [
        f"  one answer after the other: {without:.1f} tokens/s without the agent, {beside:.1f} beside it "
        f"({beside / without - 1:+.1%})",
        f"  the agent, which meters GPUs alone: {found.at_rest.percent:.2f}% of a core at rest, "
        f"{found.busy.percent:.2f}% under the mixes, "
        f"{found.resident_mb:.0f} MB",
        _balance(found.imbalance),
    ]


def _balance(imbalance: float) -> str:
    return f"  joules booked and pending against the devices' counters: {imbalance:.0e} apart at most"


def _step(step: Step) -> str:
    first, second = (step.booked_j.get(name, 0.0) for name in ENGINES)
    others = math.fsum(step.booked_j.values()) - first - second
    share = _share(step)
    return (
        f"  {' and '.join(step.asked):<16} {step.above_rest_j:>11.1f} {first:>11.1f} {second:>11.1f} {others:>11.1f} "
        f"{_percent(share):>13}"
    )


def _share(step: Step) -> float | None:
    first, second = (step.booked_j.get(name, 0.0) for name in ENGINES)
    return _part(first, first + second)


def _part(some: float, whole: float) -> float | None:
    return some / whole if whole > 0 else None


def _joules(joules: float | None) -> str:
    return f"{'-':>11}" if joules is None else f"{joules:>9.1f} J"


def _signed(part: float | None) -> str:
    return f"{'-':>8}" if part is None else f"{part:>+8.1%}"


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.1%}"
