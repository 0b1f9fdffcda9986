"""What a step, a prompt token and a generated token cost in joules, learned from the counters themselves.

Energy above the idle floor, and the time that was busy, are regressed on what the engines did since they last told:

    E - P_idle * T  =  sum over models of  c_prompt * prompt computed + c_decode * decoded + c_step * steps
    busy time       =  the same with seconds instead of joules; the floor of these seconds is added to the prices

with coefficients >= 0 and exponential forgetting. The price of a step is shared by the sequences in it, each of which
needs the weights once: first tokens (a prompt is one sequence) against decoded tokens. Of the designs compared
(`python -m tests.bench phase_weights`) this one comes closest to the truth of a simulated engine: without steps a
light load's decode tokens cannot be told from the weights that they read, and busy time in the place of steps hides
how much of it prompts took.

All of it is sums: memory does not grow with time. Nothing here decides how many joules there are, only their parts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType

from agent.model import Work
from agent.nnls import nnls, solve

HALF_LIFE = 180  # blocks, of a window or more each: a quarter of an hour of work
GATHER_S = 5.0  # of blocks at whose ends requests ran
MIN_BLOCKS = 8  # fewer tell nothing
MAX_WHO = 4  # models that are told apart on one group of devices; with more, the prior stays in force
PRIOR_ERROR = 0.10  # how far off the prior's share of prefill is, typically: what a fit has to beat
OUTLIER = 4.0  # standard deviations; what is further off counts less

Who = tuple[str, str]  # engine, model
TERMS = 3  # prompt, decode, steps


@dataclass(frozen=True, slots=True)
class Done:
    """What an engine did for a model. steps are estimated where the engine does not count them."""

    prompt: float = 0.0  # tokens computed
    generated: float = 0.0
    first: float = 0.0  # requests whose prompt was done: their first tokens came out of a prompt's step
    steps: float = 0.0

    @property
    def decoded(self) -> float:
        return max(0.0, self.generated - self.first)

    @property
    def prompts_part(self) -> float:
        """The part of the sequences in all steps that was prompts."""
        sequences = self.first + self.decoded
        return self.first / sequences if sequences > 0 else 0.0

    def plus(self, other: Done) -> Done:
        return Done(
            self.prompt + other.prompt,
            self.generated + other.generated,
            self.first + other.first,
            self.steps + other.steps,
        )

    def times(self, factor: float) -> Done:
        return Done(self.prompt * factor, self.generated * factor, self.first * factor, self.steps * factor)


@dataclass(frozen=True, slots=True)
class Block:
    """What the fit is told of: a time after which all tokens of it were booked."""

    energy_j: float = 0.0  # of the group's devices, idle and work, without strangers'
    time_s: float = 0.0
    busy_s: float = 0.0
    done: Mapping[Who, Done] = field(default_factory=dict)

    def plus(self, other: Block) -> Block:
        done = dict(self.done)
        for who, more in other.done.items():
            done[who] = done.get(who, Done()).plus(more)
        return Block(
            self.energy_j + other.energy_j,
            self.time_s + other.time_s,
            self.busy_s + other.busy_s,
            MappingProxyType(done),
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """Forgetting sums over blocks. Vectors have TERMS entries for each of who."""

    who: tuple[Who, ...] = ()
    blocks: float = 0.0  # as many as are not forgotten
    gram: tuple[tuple[float, ...], ...] = ()
    with_energy: tuple[float, ...] = ()
    with_time: tuple[float, ...] = ()
    with_busy: tuple[float, ...] = ()
    energy_energy: float = 0.0
    energy_time: float = 0.0
    time_time: float = 0.0
    load: tuple[Done, ...] = ()  # what was done in all these blocks


@dataclass(frozen=True, slots=True)
class Price:
    """Joules of one, the floor of its time included."""

    prompt_j: float
    decode_j: float
    step_j: float

    def phases(self, done: Done) -> tuple[float, float]:
        """Prefill and decode joules."""
        steps_j = self.step_j * done.steps
        prefill_j = self.prompt_j * done.prompt + steps_j * done.prompts_part
        return prefill_j, self.decode_j * done.decoded + steps_j * (1.0 - done.prompts_part)


@dataclass(frozen=True, slots=True)
class Learned:
    """What a fit says. confidence: the weight of this against the prior, 0 to 1; residual: what is left unexplained
    of a block's energy above the floor, root mean square over mean."""

    prices: Mapping[Who, Price]
    confidence: float
    residual: float | None


def done_of(works: Iterable[Work]) -> dict[Who, Done]:
    """What engines did, by model."""
    out: dict[Who, Done] = {}
    for work in works:
        ends = [r for r in (work.running_start, work.running_end) if r is not None]
        running = max(1.0, sum(ends) / len(ends)) if ends else 1.0
        for model, m in work.models.items():
            generated = m.generated or 0.0
            # An engine that does not count its steps takes one for as many tokens as requests run.
            steps = generated / running if m.steps is None else m.steps
            first = sum(m.requests.values()) if m.first_tokens is None else m.first_tokens
            done = Done(m.prompt_computed or 0.0, generated, min(first, generated), steps)
            if done != Done():
                out[work.engine, model] = out.get((work.engine, model), Done()).plus(done)
    return out


def learn(fit: Fit, block: Block, idle_w: float | None) -> Fit:
    """The fit after one more block. idle_w: the floor's power, as far as it is known; used to tell outliers."""
    new = [who for who in sorted(block.done) if who not in fit.who]
    if len(fit.who) + len(new) > MAX_WHO or not block.done or block.energy_j <= 0:
        return fit
    fit = _with_room(fit, new)
    x = _terms(fit.who, block.done)
    keep, weight = 0.5 ** (1.0 / HALF_LIFE), _trust(fit, x, block, idle_w)
    e, t, busy_s = block.energy_j, block.time_s, block.busy_s

    def add(sums: Sequence[float], more: Iterable[float]) -> tuple[float, ...]:
        return tuple(keep * s + weight * m for s, m in zip(sums, more, strict=True))

    return Fit(
        who=fit.who,
        blocks=keep * fit.blocks + weight,
        gram=tuple(add(row, (xi * xj for xj in x)) for row, xi in zip(fit.gram, x, strict=True)),
        with_energy=add(fit.with_energy, (xi * e for xi in x)),
        with_time=add(fit.with_time, (xi * t for xi in x)),
        with_busy=add(fit.with_busy, (xi * busy_s for xi in x)),
        energy_energy=keep * fit.energy_energy + weight * e * e,
        energy_time=keep * fit.energy_time + weight * e * t,
        time_time=keep * fit.time_time + weight * t * t,
        load=tuple(
            old.times(keep).plus(block.done.get(who, Done()).times(weight))
            for who, old in zip(fit.who, fit.load, strict=True)
        ),
    )


@lru_cache(maxsize=8)  # asked at every tick, changed at every close
def learned(fit: Fit, idle_w: float | None) -> Learned:
    """Prices and how far to trust them, from the sums and the floor that is known now."""
    if fit.blocks < MIN_BLOCKS:
        return Learned({}, 0.0, None)
    above = _above_floor(fit, idle_w)
    seconds = nnls(fit.gram, fit.with_busy)
    floor_w = idle_w or 0.0
    all_j = [j + floor_w * s for j, s in zip(above, seconds, strict=True)]
    prices = {who: Price(*all_j[TERMS * k : TERMS * (k + 1)]) for k, who in enumerate(fit.who)}
    rms_j = _rms_j(fit, above, idle_w)
    mean_j = sum(c * x for c, x in zip(above, _terms(fit.who, dict(zip(fit.who, fit.load, strict=True))), strict=True))
    mean_j /= fit.blocks
    if mean_j <= 0:
        return Learned({}, 0.0, None)
    error = _share_error(fit, rms_j) / (mean_j * fit.blocks)
    return Learned(prices, PRIOR_ERROR**2 / (PRIOR_ERROR**2 + error**2), rms_j / mean_j)


def _with_room(fit: Fit, new: Sequence[Who]) -> Fit:
    if not new:
        return fit
    zeros = (0.0,) * (TERMS * len(new))
    size = len(fit.gram) + len(zeros)
    return replace(
        fit,
        who=(*fit.who, *new),
        gram=(*((*row, *zeros) for row in fit.gram), *((0.0,) * size for _ in zeros)),
        with_energy=(*fit.with_energy, *zeros),
        with_time=(*fit.with_time, *zeros),
        with_busy=(*fit.with_busy, *zeros),
        load=(*fit.load, *(Done() for _ in new)),
    )


def _terms(who: Sequence[Who], done: Mapping[Who, Done]) -> list[float]:
    return [v for w in who for d in (done.get(w, Done()),) for v in (d.prompt, d.decoded, d.steps)]


def _above_floor(fit: Fit, idle_w: float | None) -> list[float]:
    floor_w = idle_w or 0.0
    return nnls(fit.gram, [e - floor_w * t for e, t in zip(fit.with_energy, fit.with_time, strict=True)])


def _rms_j(fit: Fit, above: Sequence[float], idle_w: float | None) -> float:
    """Of a block, with the freedom that the unknowns take. Where a coefficient stands at 0, x'(b - Ax) is 0 too."""
    w = idle_w or 0.0
    total = fit.energy_energy - 2.0 * w * fit.energy_time + w * w * fit.time_time
    b = [e - w * t for e, t in zip(fit.with_energy, fit.with_time, strict=True)]
    unexplained = total - sum(c * bi for c, bi in zip(above, b, strict=True))
    return float((max(0.0, unexplained) / max(1.0, fit.blocks - len(above))) ** 0.5)


def _share_error(fit: Fit, rms_j: float) -> float:
    """Standard error, in joules of all blocks, of what is told apart worst: a model's prefill, or its whole."""
    contrasts = []
    for k, d in enumerate(fit.load):
        prefill = [0.0] * len(fit.gram)
        prefill[TERMS * k : TERMS * (k + 1)] = (d.prompt, 0.0, d.steps * d.prompts_part)
        contrasts.append(prefill)
        if len(fit.who) > 1:
            whole = [0.0] * len(fit.gram)
            whole[TERMS * k : TERMS * (k + 1)] = (d.prompt, d.decoded, d.steps)
            contrasts.append(whole)
    return rms_j * math.sqrt(max(0.0, *(_dot(v, solve(fit.gram, v)) for v in contrasts)))


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _trust(fit: Fit, x: Sequence[float], block: Block, idle_w: float | None) -> float:
    """1, and less for a block that is far from all that is known: tokens that were told late, a stranger's load."""
    if fit.blocks < 2 * MIN_BLOCKS:
        return 1.0
    above = _above_floor(fit, idle_w)
    rms_j = _rms_j(fit, above, idle_w)
    off_j = abs(block.energy_j - (idle_w or 0.0) * block.time_s - _dot(above, x))
    return float(min(1.0, OUTLIER * rms_j / off_j)) if off_j > 0 else 1.0
