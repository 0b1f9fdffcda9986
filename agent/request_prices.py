"""Prices learned from requests themselves: of windows in which many tokens are some span's.

The books learn from an engine's counters, which do not tell which contexts were read, nor when a prompt was computed.
Spans do. Where they cover enough of a window, its joules are regressed on what its requests took part in: prompt
tokens, decoded tokens, steps and contexts, with coefficients >= 0. That decides which request gets what of a window
and, of a model alone on its GPUs, how work divides into phases (agent/weigh.py); never how many joules there are.

Errors are taken to be relative. What is far off counts less (iteratively reweighted least squares with Tukey's
biweight; Beaton and Tukey, 1974): a window with a pause that no counter told of, or the first one after the start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from agent.done import Who
from agent.learn import Learned, Price, confidence_of
from agent.nnls import nnls, solve
from agent.request_pace import Part

KEPT = 180  # windows: a quarter of an hour of those of 5 s
TERMS = 4
MIN_WINDOWS = 10
OFTEN = 40  # windows: with so many, prices are looked for with every further one,
SELDOM = 4  # and beyond, with every so many: it takes 4 ms for each model
EDGE = 0.2  # of a prompt: what is not known of how much of it was computed in which window
CLEAR = 3.0  # times that, and prompts are told from all else
SURE = 0.5  # of a confidence: from there on the books take these prices for their own
LEAST_J = 1e-3  # of a window: less is what rounding left
ROUNDS = 4  # of reweighting
FAR = 4.685  # standard deviations: from there on a window counts nothing
LEAST_SPREAD = 0.002  # relative; nothing is measured better

Terms = tuple[float, float, float, float]  # prompt tokens, decoded ones, steps, thousand tokens of context


@dataclass(frozen=True, slots=True)
class Row:
    """A window."""

    terms: Terms
    energy_j: float
    prompts: float  # requests whose prompt was done in it
    known: float  # part of all prompt tokens that spans told of


@dataclass(frozen=True, slots=True)
class RequestFit:
    """The last covered windows, and the prices that they tell."""

    rows: tuple[Row, ...] = ()
    price: Price | None = None  # None: too few windows
    error: float = 1.0  # of prefill's share at these prices, a standard deviation
    spread: float = 1.0  # what is left unexplained of a window, relative; likewise
    fresh: int = 0  # windows since prices were looked for
    missed: int = 0  # windows since the last covered one

    @property
    def is_ready(self) -> bool:
        return self.price is not None

    def miss(self) -> RequestFit:
        """After a window of which spans told too little."""
        return self if self.missed > KEPT else replace(self, missed=self.missed + 1)

    def taught(self, who: Who) -> Learned | None:
        """For the books' phases: the prices of a model, once they are sure enough, and while spans come. Without them
        nothing would tell that the model, or what it costs, is another now."""
        confidence = confidence_of(self.error)
        if self.price is None or confidence < SURE or self.missed > KEPT:
            return None
        return Learned({who: self.price}, confidence, self.spread)


def learn(
    fit: RequestFit,
    parts: Sequence[Part],
    steps: float | None,
    energy_j: float,
    known: tuple[float, float] = (1.0, 1.0),
) -> RequestFit:
    """The fit after one more covered window of so many joules. steps: as the engine counts them; None: it does not.
    known: the part of all prompt and generated tokens that is in parts; the others are taken to be as these."""
    if energy_j < LEAST_J:
        return fit
    shared = sum(p.steps + p.prefill_steps for p in parts)
    terms = (
        sum(p.prompt for p in parts) / known[0],
        sum(p.decoded for p in parts) / known[1],
        shared if steps is None else steps,
        sum(p.context for p in parts) / known[1],
    )
    row = Row(terms, energy_j, sum(p.told_prompt > 0 for p in parts) / known[0], known[0])
    rows = (*fit.rows, row)[-KEPT:]
    if len(rows) < MIN_WINDOWS:
        return RequestFit(rows)
    if len(rows) > OFTEN and fit.fresh + 1 < SELDOM:
        return replace(fit, rows=rows, fresh=fit.fresh + 1, missed=0)
    price, weights, error, spread = _robust(rows)
    return RequestFit(rows, price if _is_told(rows, weights) else None, error, spread)


def better(fit: RequestFit, other: Price | None) -> Price | None:
    """The fit's own prices, unless the other ones explain the same windows as well with nothing learned from them."""
    if fit.price is None or other is None:
        return fit.price or other
    freedom = len(fit.rows) / (len(fit.rows) - TERMS)
    own, theirs = (_spread(_off(fit.rows, _terms(p))) for p in (fit.price, other))
    return other if theirs < freedom * own else fit.price


def _terms(price: Price) -> list[float]:
    return [price.prompt_j, price.decode_j, price.step_j, price.context_j]


def _robust(rows: Sequence[Row]) -> tuple[Price, list[float], float, float]:
    """Prices, how much each window counts, the standard error of prefill's share at these loads, and what is left
    unexplained of a window."""
    weights = [1.0] * len(rows)
    prices, spread = [0.0] * TERMS, 1.0
    for _ in range(ROUNDS):
        prices = nnls(*_sums(rows, weights))
        off = _off(rows, prices)
        spread = _spread(off)
        weights = [max(0.0, 1.0 - (r / (FAR * spread)) ** 2) ** 2 for r in off]
    prompt = sum(row.terms[0] for row in rows) / sum(row.energy_j for row in rows)
    by = solve(_sums(rows, weights)[0], [prompt, 0.0, 0.0, 0.0])
    return Price(*prices), weights, spread * math.sqrt(max(0.0, prompt * by[0])), spread


def _sums(rows: Sequence[Row], weights: Sequence[float]) -> tuple[list[list[float]], list[float]]:
    """Of the products of all terms, and of the terms, of a joule of each window."""
    gram, right = [[0.0] * TERMS for _ in range(TERMS)], [0.0] * TERMS
    for row, weight in zip(rows, weights, strict=True):
        each = [x / row.energy_j for x in row.terms]
        for i, xi in enumerate(each):
            right[i] += weight * xi
            for j, xj in enumerate(each):
                gram[i][j] += weight * xi * xj
    return gram, right


def _is_told(rows: Sequence[Row], weights: Sequence[float]) -> bool:
    """Do prompts vary by themselves, and by more than is known of them? At saturation a window has as many tokens and
    steps as any other, and what is missing of a prompt at its edge would go to the price of the steps."""
    total = sum(weights)

    def mean(of: Sequence[float]) -> float:
        return sum(w * v for w, v in zip(weights, of, strict=True)) / total

    prompts = mean([row.prompts for row in rows]) if total > 0 else 0.0
    if prompts <= 0:
        return total > 0  # there is nothing to tell apart
    gram, right = _sums(rows, weights)
    others = range(1, TERMS)
    goes_with = solve([[gram[i][j] for j in others] for i in others], [gram[i][0] for i in others])
    own = (gram[0][0] - sum(g * gram[i][0] for g, i in zip(goes_with, others, strict=True))) / total
    known = mean([row.known for row in rows])
    varies = mean([(row.known - known) ** 2 for row in rows])
    unknown = math.hypot(EDGE / prompts, math.sqrt(varies) / known)
    return math.sqrt(max(0.0, own)) > CLEAR * unknown * right[0] / total


def _off(rows: Sequence[Row], prices: Sequence[float]) -> list[float]:
    """What the prices leave unexplained of each window, relative."""
    return [1.0 - sum(c * x for c, x in zip(prices, row.terms, strict=True)) / row.energy_j for row in rows]


def _spread(off: Sequence[float]) -> float:
    """A standard deviation that a few far ones do not change: of the median absolute deviation."""
    return max(LEAST_SPREAD, 1.4826 * median(abs(r) for r in off))
