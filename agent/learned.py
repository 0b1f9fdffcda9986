"""What the sums of agent/learn.py say: prices, and how far prefill's share of the work may be off by them.

What decoding reads of contexts goes with prompts: a fit without it gives it to these, and one with a term for it of its
own blurs both. But it has a bound: keys and values of a token are so many bytes against those of the weights that a
step reads. So steps and contexts have one price, at each of a few such ratios (CONTEXT), and what these fits say is
averaged by how well they explain the energy (Hoeting et al., Bayesian Model Averaging, 1999). Where they differ in
prefill's share and explain alike, that is part of the error.

The error has four parts: chance; prompts that are told late (agent/late_prompts.py); errors that last from block to
block, which are none of chance, since the model lacks something that costs as much; and the seconds that each token
took (agent/fit_seconds.py), at the floor's power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from agent.done import Who
from agent.fit_seconds import seconds_of
from agent.late_prompts import Late, late_of, pulled_j
from agent.learn import (
    FIRST_TERM,
    MIN_BLOCKS,
    TERMS,
    Fit,
    Learned,
    Price,
    Sums,
    above_floor,
    confidence_of,
    unexplained,
    up_to_date,
)
from agent.nnls import Matrix, dot, form, solve

# Of the bytes of a step: keys and values of a thousand tokens. Llama 3.1 70B has 0.002, 8B 0.008, Llama 2 7B 0.04.
# The larger, the fewer models: queries are grouped since 2023.
CONTEXT = (0.0, 0.003, 0.01, 0.03, 0.06)
OFTEN = (1.0, 2.0, 2.0, 1.0, 0.5)  # how many models have such a ratio, against each other
ALIKE = 3.0  # blocks that count as one: they are no independent witnesses of what is not in the terms
HARDLY = 0.01  # of all: a fit that is less likely is left out
MANY = 128  # fits: 8 GPUs of 7 MIG instances have 56 groups. Asked in turn, one too many makes all of them anew
FOLDED = TERMS - 1  # terms with contexts in the steps


@dataclass(frozen=True, slots=True)
class _Base:
    """A fit with so much of a step for a thousand tokens of context: its sums, those of the terms, what was done,
    joules above the floor of one of each term, and what these leave unexplained of all blocks."""

    fit: Fit
    ratio: float
    gram: Matrix
    load: list[float]
    first_j: list[float]
    left_j2: float


@dataclass(frozen=True, slots=True)
class _Says:
    """One fit. Variance of prefill's share; residual and errors as Learned has them."""

    prices: dict[Who, Price]
    variance: float
    residual: float
    errors: dict[Who, float]

    def share(self, fit: Fit) -> float:
        """Of prefill, at all that was done."""
        both = [self.prices[who].phases(d) for who, d in zip(fit.who, fit.load, strict=True)]
        total_j = sum(p + d for p, d in both)
        return sum(p for p, _ in both) / total_j if total_j > 0 else 0.0


@lru_cache(maxsize=MANY)  # asked at every tick, changed at every close
def learned(fit: Fit, idle_w: float | None, told: float | None = None) -> Learned:
    """Prices and how far to trust them, from the sums and the floor that is known now (W). told: what a thousand tokens
    of context take of a step, where somebody knows (spans tell which contexts were read). More than any model reads is
    not believed.

    Contexts have a price where a model is alone: among several there is enough to tell apart.
    """
    if fit.blocks < MIN_BLOCKS:
        return Learned({}, 0.0, None)
    fit = up_to_date(fit)
    ratios = CONTEXT if len(fit.who) == 1 else CONTEXT[:1]
    if told is not None and told <= CONTEXT[-1]:
        ratios = (told,)
    bases = [_based(fit, ratio, idle_w) for ratio in ratios]
    if any(dot(b.first_j, b.load) <= 0 for b in bases):
        return Learned({}, 0.0, None)
    parts = _parts(fit, [b.left_j2 for b in bases])
    late = late_of(bases[0].fit, bases[0].gram, bases[0].first_j, idle_w)
    fits = [(part, _says(b, late, idle_w)) for part, b in zip(parts, bases, strict=True) if part > 0]
    share = sum(part * one.share(fit) for part, one in fits)
    variance = sum(part * (one.variance + (one.share(fit) - share) ** 2) for part, one in fits)
    prices = {who: _mean([(part, one.prices[who]) for part, one in fits]) for who in fit.who}
    residual = sum(part * one.residual for part, one in fits)
    errors = fits[0][1].errors if len(fit.who) > 1 else {}  # several have one fit
    return Learned(prices, confidence_of(math.sqrt(variance)), residual, errors)


def _parts(fit: Fit, left_j2: Sequence[float]) -> list[float]:
    """How likely each of the fits is. Those that are hardly so are left out: each takes time."""
    least_j2 = min(left_j2)
    power = max(0.0, fit.blocks - FOLDED * len(fit.who)) / (2.0 * ALIKE)
    likely = [
        often * ((least_j2 / one_j2) ** power if one_j2 > 0 else 1.0)
        for often, one_j2 in zip(OFTEN, left_j2, strict=False)
    ]
    likely = [p if p >= HARDLY * sum(likely) else 0.0 for p in likely]
    return [p / sum(likely) for p in likely]


def _mean(prices: Sequence[tuple[float, Price]]) -> Price:
    return Price(
        sum(part * p.prompt_j for part, p in prices),
        sum(part * p.decode_j for part, p in prices),
        sum(part * p.step_j for part, p in prices),
        sum(part * p.context_j for part, p in prices),
    )


def _based(whole: Fit, ratio: float, idle_w: float | None) -> _Base:
    fit = _folded(whole, ratio)
    gram = [row[FIRST_TERM:] for row in fit.sums[FIRST_TERM:]]
    load = [v for d in fit.load for v in (d.prompt, d.decoded, d.steps + ratio * d.context)]
    first_j = above_floor(fit.sums, gram, idle_w)
    left_j2 = max(0.0, form(fit.sums, unexplained(first_j, idle_w)))
    return _Base(fit, ratio, gram, load, first_j, left_j2)


def _says(base: _Base, late: Late, idle_w: float | None) -> _Says:
    """total_j and each_j are joules above the floor; all_j has the floor of the time that each term took as well."""
    fit, gram = base.fit, base.gram
    total_j = dot(base.first_j, base.load)
    lasting_j2 = max(0.0, form(fit.lag_1, unexplained(base.first_j, idle_w)))
    rms_j = math.sqrt(base.left_j2 / max(1.0, fit.blocks - len(gram)))

    cleaned = late.without(gram)
    each_j = base.first_j if cleaned is gram else above_floor(fit.sums, cleaned, idle_w)
    seconds = seconds_of(fit, gram, cleaned, each_j)
    floor_w = idle_w or 0.0
    all_j = [j + floor_w * s for j, s in zip(each_j, seconds.each, strict=True)]
    prices = {}
    for k, who in enumerate(fit.who):
        prompt_j, decode_j, step_j = all_j[FOLDED * k : FOLDED * (k + 1)]
        prices[who] = Price(prompt_j, decode_j, step_j, base.ratio * step_j)

    apart_j = _apart_j(fit, cleaned, rms_j, pulled_j(fit, late, total_j, each_j))
    worst_j = max(j for each in apart_j for j in each)
    long_j = rms_j * fit.blocks * lasting_j2 / base.left_j2 if base.left_j2 > 0 else 0.0
    floors_j = [floor_w * seconds.error(_prefill(fit, k)) for k in range(len(fit.who))]
    whole_j = max(total_j, dot(all_j, base.load))
    variance = (worst_j**2 + long_j**2) / total_j**2 + (max(floors_j) / whole_j) ** 2
    errors = {}
    for k, who in enumerate(fit.who):
        own = slice(FOLDED * k, FOLDED * (k + 1))
        own_j, own_all_j = (dot(j[own], base.load[own]) for j in (base.first_j, all_j))
        off = (
            (apart_j[k][0] / own_j, long_j / total_j, floors_j[k] / max(own_j, own_all_j)) if own_j > 0 else (math.inf,)
        )
        errors[who] = math.hypot(*off)
    return _Says(prices, variance, rms_j * fit.blocks / total_j, errors)


def _folded(fit: Fit, ratio: float) -> Fit:
    """Contexts in the steps."""
    kept = [i for i in range(len(fit.sums)) if i < FIRST_TERM or (i - FIRST_TERM) % TERMS < FOLDED]

    def row(v: Sequence[float]) -> list[float]:
        return [v[i] + ratio * v[i + 1] if i > FIRST_TERM and (i - FIRST_TERM) % TERMS == 2 else v[i] for i in kept]

    def fold(sums: Sums) -> Sums:
        columns = zip(*(row(v) for v in sums), strict=True)
        return tuple(tuple(row(c)) for c in columns)

    return replace(fit, sums=fold(fit.sums), lag_1=fold(fit.lag_1), lag_2=fold(fit.lag_2), sure=fold(fit.sure))


def _prefill(fit: Fit, k: int) -> list[float]:
    """What of a model's load is prefill's: with prices, its joules."""
    d, of = fit.load[k], [0.0] * (FOLDED * len(fit.who))
    of[FOLDED * k], of[FOLDED * k + 2] = d.prompt, d.steps * d.prompts_part
    return of


def _apart_j(fit: Fit, gram: Matrix, rms_j: float, pull_j: Sequence[float]) -> list[list[float]]:
    """Errors, in joules of all blocks, of what is to be told apart: of each model its prefill and, beside others, its
    whole. By chance, and by prompts whose price is pulled down."""
    errors = []
    for k, d in enumerate(fit.load):
        told = [_prefill(fit, k)]
        if len(fit.who) > 1:
            told.append([0.0] * len(gram))
            told[1][FOLDED * k : FOLDED * (k + 1)] = (d.prompt, d.decoded, d.steps)
        errors.append([_error_j(gram, contrast, rms_j, pull_j) for contrast in told])
    return errors


def _error_j(gram: Matrix, contrast: Sequence[float], rms_j: float, pull_j: Sequence[float]) -> float:
    by = solve(gram, contrast)
    chance_j = rms_j * math.sqrt(ALIKE * max(0.0, dot(contrast, by)))
    return math.hypot(chance_j, sum(p * abs(by[FOLDED * i]) for i, p in enumerate(pull_j)))
