"""What a step, a prompt token, a generated token and its context cost in joules, learned from the counters themselves.

Energy above the idle floor, and the time that was busy, are regressed on what the engines did since they last told:

    E - P_idle * T  =  sum over models of  c_prompt * prompt computed + c_decode * decoded + c_step * steps
    busy time       =  the same with seconds instead of joules; the floor of these seconds is added to the prices

with coefficients >= 0 and exponential forgetting. In the seconds a block counts by how well its busy time is known: one
that power alone tells is short where decoding draws less than prompts do.

The price of a step is shared by the sequences in it, each of which
needs the weights once: first tokens (a prompt is one sequence) against decoded tokens. Of the designs compared
(`python -m tests.bench phase_weights`) this one comes closest to the truth of a simulated engine: without steps a
light load's decode tokens cannot be told from the weights that they read, and busy time in the place of steps hides
how much of it prompts took. A price for the context that decoding reads joins them where it explains much: contexts go
with prompts, so that it blurs the price of these.

A prompt is told at its first token, in one lump, though it may have been computed before the block began. Where
requests run without a pause that is noise in a regressor, which pulls its price towards 0 (errors in variables;
Fuller, Measurement Error Models, 1987, section 2.2). Against it: blocks last until nothing runs or enough prompts are
in them; the noise's variance is estimated and taken out of the sums; and what it may still do lowers the confidence.

All of it is sums: memory does not grow with time. Nothing here decides how many joules there are, only their parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from agent.done import Block, Done, Who
from agent.nnls import Matrix, nnls, solve

HALF_LIFE_S = 900.0  # of blocks: a quarter of an hour of work
MIN_BLOCKS = 8  # fewer tell nothing
MAX_WHO = 4  # models that are told apart on one group of devices; with more, the prior stays in force
PRIOR_ERROR = 0.10  # how far off the prior's share of prefill is, typically: what a fit has to beat
PRIOR_PROMPT = 0.12  # of a generated token, as the prior has it
NOISE_LEFT = 0.5  # of what was estimated and taken out
WELL = 0.05  # of a busy time: its standard deviation, where it is known well
MAX_BLUR = 0.05  # error of prefill's share, by chance and by late telling, at which context has a price
WORTH = 0.95  # and what it leaves unexplained of the squares that are unexplained without it
OUTLIER = 4.0  # standard deviations; what is further off counts less

TERMS = 4  # prompt, decode, steps, context
BUSY, TIME, ENERGY, FIRST_TERM = range(4)  # places in the vector of a block; then TERMS for each of who
Sums = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """Forgetting sums over blocks."""

    who: tuple[Who, ...] = ()
    blocks: float = 0.0  # as many as are not forgotten
    sums: Sums = ((0.0,) * FIRST_TERM,) * FIRST_TERM  # of the products of a block's vector with itself
    lag_1: Sums = ((0.0,) * FIRST_TERM,) * FIRST_TERM  # with the vector of the block before
    lag_2: Sums = ((0.0,) * FIRST_TERM,) * FIRST_TERM
    last: tuple[tuple[float, ...], ...] = ()  # the vectors of the last two blocks, the newest first
    load: tuple[Done, ...] = ()  # what was done in all these blocks
    open_ends: float = 0.0  # blocks with requests at their edges, by the part of their time that was busy
    quiet: bool = True  # nothing ran at the last one's end
    sure: Sums = ((0.0,) * FIRST_TERM,) * FIRST_TERM  # like sums, of blocks by how well their busy time is known


@dataclass(frozen=True, slots=True)
class Price:
    """Joules of one, the floor of its time included."""

    prompt_j: float
    decode_j: float
    step_j: float
    context_j: float = 0.0  # of a thousand tokens read

    def phases(self, done: Done) -> tuple[float, float]:
        """Prefill and decode joules."""
        steps_j = self.step_j * done.steps
        prefill_j = self.prompt_j * done.prompt + steps_j * done.prompts_part
        decode_j = self.decode_j * done.decoded + self.context_j * done.context
        return prefill_j, decode_j + steps_j * (1.0 - done.prompts_part)


@dataclass(frozen=True, slots=True)
class Learned:
    """What a fit says. confidence: the weight of this against the prior, 0 to 1; residual: what is left unexplained
    of a block's energy above the floor, root mean square over mean."""

    prices: Mapping[Who, Price]
    confidence: float
    residual: float | None


def learn(fit: Fit, block: Block, idle_w: float | None, *, quiet: bool = True) -> Fit:
    """The fit after one more block. idle_w: the floor's power, as far as it is known; used to tell outliers. quiet:
    nothing runs at its end, so that all its prompts are told."""
    new = [who for who in sorted(block.done) if who not in fit.who]
    if len(fit.who) + len(new) > MAX_WHO or not block.done or block.energy_j <= 0:
        return fit
    fit = _with_room(_up_to_date(fit), new)
    v = (block.busy_s, block.time_s, block.energy_j, *_terms(fit.who, block.done))
    keep, weight = 0.5 ** (block.time_s / HALF_LIFE_S), _trust(fit, v, idle_w)

    def add(sums: Sums, other: Sequence[float], weight: float = weight) -> Sums:
        pairs = zip(sums, v, other, strict=True)
        return tuple(
            tuple(keep * s + weight * (vi * oj + oi * vj) / 2 for s, vj, oj in zip(row, v, other, strict=True))
            for row, vi, oi in pairs
        )

    lags = [add(s, fit.last[k]) if k < len(fit.last) else s for k, s in enumerate((fit.lag_1, fit.lag_2))]
    edges = ((not fit.quiet) + (not quiet)) / 2
    busy = min(1.0, block.busy_s / block.time_s) if block.time_s > 0 else 1.0
    return Fit(
        who=fit.who,
        blocks=keep * fit.blocks + weight,
        sums=add(fit.sums, v),
        lag_1=lags[0],
        lag_2=lags[1],
        last=(v, *fit.last[:1]),
        load=tuple(
            old.times(keep).plus(block.done.get(who, Done()).times(weight))
            for who, old in zip(fit.who, fit.load, strict=True)
        ),
        open_ends=keep * fit.open_ends + weight * edges * busy,
        quiet=quiet,
        sure=add(fit.sure, v, weight * _sure(block)),
    )


def _up_to_date(fit: Fit) -> Fit:
    """One that an older version remembered took all busy times for well known."""
    return fit if len(fit.sure) == len(fit.sums) else replace(fit, sure=fit.sums)


def _sure(block: Block) -> float:
    known_s2 = (WELL * block.busy_s) ** 2
    return known_s2 / (known_s2 + block.busy_var_s2) if known_s2 > 0 else 1.0


@lru_cache(maxsize=8)  # asked at every tick, changed at every close
def learned(fit: Fit, idle_w: float | None) -> Learned:
    """Prices and how far to trust them, from the sums and the floor that is known now.

    Context goes with prompts: a price for it blurs theirs. It has one only where it explains much and blurs little, and
    where a model is alone: among several there is enough to tell apart.
    """
    if fit.blocks < MIN_BLOCKS:
        return Learned({}, 0.0, None)
    fit = _up_to_date(fit)
    plain, _, left_j2 = _says(_without_context(fit), idle_w)
    if len(fit.who) > 1:
        return plain
    with_context, blur, rest_j2 = _says(fit, idle_w)
    return with_context if blur < MAX_BLUR and rest_j2 < WORTH * left_j2 else plain


def _says(fit: Fit, idle_w: float | None) -> tuple[Learned, float, float]:
    """With these terms: what is learned, how far apart its prices are not told, and what they leave unexplained."""
    gram = [list(row[FIRST_TERM:]) for row in fit.sums[FIRST_TERM:]]
    size = len(gram) // len(fit.who)
    load = [v for d in fit.load for v in _terms_of(d)[:size]]
    first_j = _above_floor(fit, gram, idle_w)
    all_above_j = _dot(first_j, load)
    if all_above_j <= 0:
        return Learned({}, 0.0, None), math.inf, math.inf
    left = _left(first_j, idle_w)
    square_j2, lasting_j2 = max(0.0, _form(fit.sums, left)), max(0.0, _form(fit.lag_1, left))
    rms_j = math.sqrt(square_j2 / max(1.0, fit.blocks - len(load)))

    noise, cleaned = _prompt_noise(fit, gram, first_j, idle_w)
    above = _above_floor(fit, cleaned, idle_w)
    timed = [list(row[FIRST_TERM:]) for row in fit.sure[FIRST_TERM:]]
    for i, (clean, row) in enumerate(zip(cleaned, gram, strict=True)):
        timed[i][i] *= clean[i] / row[i] if row[i] > 0 else 1.0
    seconds = nnls(timed, [row[BUSY] for row in fit.sure[FIRST_TERM:]])
    all_j = [j + (idle_w or 0.0) * s for j, s in zip(above, seconds, strict=True)]
    prices = {who: Price(*all_j[size * k : size * (k + 1)]) for k, who in enumerate(fit.who)}

    # What is left of the noise hides so much of a prompt's price, the one that was found or the prior's.
    prior_j = all_above_j / max(1e-300, sum(PRIOR_PROMPT * d.prompt + d.generated for d in fit.load)) * PRIOR_PROMPT
    pull_j = [NOISE_LEFT * n * max(above[size * k], prior_j) for k, n in enumerate(noise)]
    apart_j = max(_apart_j(fit, cleaned, rms_j, pull_j), default=0.0)
    # An error that lasts from block to block is none of chance: the model lacks something that costs as much.
    lasting_j = rms_j * fit.blocks * lasting_j2 / square_j2 if square_j2 > 0 else 0.0
    error = math.hypot(apart_j, lasting_j) / all_above_j
    confidence = PRIOR_ERROR**2 / (PRIOR_ERROR**2 + error**2)
    return Learned(prices, confidence, rms_j * fit.blocks / all_above_j), apart_j / all_above_j, square_j2


def _without_context(fit: Fit) -> Fit:
    places = [i for i in range(len(fit.sums)) if i < FIRST_TERM or (i - FIRST_TERM) % TERMS < TERMS - 1]

    def fewer(sums: Sums) -> Sums:
        return tuple(tuple(sums[i][j] for j in places) for i in places)

    return replace(fit, sums=fewer(fit.sums), lag_1=fewer(fit.lag_1), lag_2=fewer(fit.lag_2), sure=fewer(fit.sure))


def _with_room(fit: Fit, new: Sequence[Who]) -> Fit:
    if not new:
        return fit
    zeros = (0.0,) * (TERMS * len(new))

    def wider(sums: Sums) -> Sums:
        return (*((*row, *zeros) for row in sums), *((0.0,) * (len(sums) + len(zeros)) for _ in zeros))

    return replace(
        fit,
        who=(*fit.who, *new),
        sums=wider(fit.sums),
        lag_1=wider(fit.lag_1),
        lag_2=wider(fit.lag_2),
        sure=wider(fit.sure),
        last=tuple((*v, *zeros) for v in fit.last),
        load=(*fit.load, *(Done() for _ in new)),
    )


def _terms(who: Sequence[Who], done: Mapping[Who, Done]) -> list[float]:
    return [v for w in who for v in _terms_of(done.get(w, Done()))]


def _terms_of(done: Done) -> tuple[float, ...]:
    return done.prompt, done.decoded, done.steps, done.context


def _above_floor(fit: Fit, gram: Matrix, idle_w: float | None) -> list[float]:
    return nnls(gram, [row[ENERGY] - (idle_w or 0.0) * row[TIME] for row in fit.sums[FIRST_TERM:]])


def _left(above: Sequence[float], idle_w: float | None) -> list[float]:
    """With a block's vector: what these prices leave unexplained of its energy."""
    return [0.0, -(idle_w or 0.0), 1.0, *(-c for c in above)]


def _prompt_noise(
    fit: Fit, gram: Matrix, above: Sequence[float], idle_w: float | None
) -> tuple[list[float], list[list[float]]]:
    """For each of who how much of the prompts' sum of squares is their late telling, and the sums without it.

    What is told too late in one block is too much in the next: that shows as a step down of the covariance of
    neighbours against that of every second block, in the prompts (as far as nothing else goes with them) or in what
    the fit leaves unexplained. It is never more than a long prompt at each edge would make.
    """
    left = _left(above, idle_w)
    next_j2 = _form(fit.lag_1, left)
    cleaned, noise = [list(row) for row in gram], []
    for k, d in enumerate(fit.load):
        at = len(gram) // len(fit.who) * k
        others = [i for i in range(len(gram)) if i != at]
        goes_with = solve([[gram[i][j] for j in others] for i in others], [gram[i][at] for i in others])
        own = [0.0] * (FIRST_TERM + len(gram))
        own[FIRST_TERM + at] = 1.0
        for i, g in zip(others, goes_with, strict=True):
            own[FIRST_TERM + i] = -g
        own_2, next_2, second_2 = (_form(s, own) for s in (fit.sums, fit.lag_1, fit.lag_2))
        by_prompts = 2.0 * (second_2 - next_2)
        by_energy = -2.0 * next_j2 / above[at] ** 2 if above[at] > 0 else 0.0
        mean = d.prompt / (d.first if d.first > 0 else fit.blocks)
        most = max(0.0, min(own_2, 2.0 * mean**2 * fit.open_ends))
        noise.append(min(most, max(0.0, by_prompts, by_energy)))
        cleaned[at][at] -= min(noise[-1], own_2 / 2)
    return noise, cleaned


def _apart_j(fit: Fit, gram: Matrix, rms_j: float, pull_j: Sequence[float]) -> list[float]:
    """Errors, in joules of all blocks, of what is to be told apart: a model's prefill, and its whole. By chance, and
    by prompts whose price is pulled down."""
    errors = []
    size = len(gram) // len(fit.who)
    for k, d in enumerate(fit.load):
        told: list[tuple[float, ...]] = [(d.prompt, 0.0, d.steps * d.prompts_part, 0.0)]
        told += [_terms_of(d)] if len(fit.who) > 1 else []
        for terms in told:
            contrast = [0.0] * len(gram)
            contrast[size * k : size * (k + 1)] = terms[:size]
            by = solve(gram, contrast)
            chance_j = rms_j * math.sqrt(max(0.0, _dot(contrast, by)))
            errors.append(math.hypot(chance_j, sum(p * abs(by[size * i]) for i, p in enumerate(pull_j))))
    return errors


def _form(sums: Sums, v: Sequence[float]) -> float:
    return sum(vi * _dot(row, v) for row, vi in zip(sums, v, strict=True))


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _trust(fit: Fit, v: Sequence[float], idle_w: float | None) -> float:
    """1, and less for a block that is far from all that is known: tokens that were told late, a stranger's load."""
    if fit.blocks < 2 * MIN_BLOCKS:
        return 1.0
    gram = [row[FIRST_TERM:] for row in fit.sums[FIRST_TERM:]]  # context included: no dear one is an outlier
    left = _left(_above_floor(fit, gram, idle_w), idle_w)
    rms_j = math.sqrt(max(0.0, _form(fit.sums, left)) / max(1.0, fit.blocks - len(gram)))
    off_j = abs(_dot(left, v))
    return min(1.0, OUTLIER * rms_j / off_j) if off_j > 0 else 1.0
