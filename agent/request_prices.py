"""Prices learned from requests themselves: of windows in which many tokens are some span's.

The books learn from an engine's counters, which do not tell which contexts were read, nor when a prompt was computed.
Spans do. Where they cover enough of a window, its joules are regressed on what its requests took part in: prompt
tokens, decoded tokens, steps and contexts, with coefficients >= 0. That decides which request gets what of a window,
and never how much a window has.

Errors are taken to be relative. What is far off counts less (iteratively reweighted least squares with Tukey's
biweight; Beaton and Tukey, 1974): a window with a pause that no counter told of, or the first one after the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from agent.learn import Price
from agent.nnls import nnls
from agent.request_pace import Part

KEPT = 180  # windows: a quarter of an hour of those of 5 s
TERMS = 4
MIN_WINDOWS = 10
LEAST_J = 1e-3  # of a window: less is what rounding left
ROUNDS = 4  # of reweighting
FAR = 4.685  # standard deviations: from there on a window counts nothing
LEAST_SPREAD = 0.002  # relative; nothing is measured better

Row = tuple[float, float, float, float, float]  # prompt tokens, decoded ones, steps, thousand tokens of context; joules


@dataclass(frozen=True, slots=True)
class RequestFit:
    """The last covered windows, and the prices that they tell."""

    rows: tuple[Row, ...] = ()
    price: Price | None = None  # None: too few windows

    @property
    def is_ready(self) -> bool:
        return self.price is not None


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
    row = (
        sum(p.prompt for p in parts) / known[0],
        sum(p.decoded for p in parts) / known[1],
        shared if steps is None else steps,
        sum(p.context for p in parts) / known[1],
        energy_j,
    )
    rows = (*fit.rows, row)[-KEPT:]
    return RequestFit(rows, Price(*_robust(rows)) if len(rows) >= MIN_WINDOWS else None)


def better(fit: RequestFit, other: Price | None) -> Price | None:
    """The fit's own prices, unless the other ones explain the same windows as well with nothing learned from them."""
    if fit.price is None or other is None:
        return fit.price or other
    freedom = len(fit.rows) / (len(fit.rows) - TERMS)
    own, theirs = (_spread(_off(fit.rows, _terms(p))) for p in (fit.price, other))
    return other if theirs < freedom * own else fit.price


def _terms(price: Price) -> list[float]:
    return [price.prompt_j, price.decode_j, price.step_j, price.context_j]


def _robust(rows: Sequence[Row]) -> list[float]:
    weights = [1.0] * len(rows)
    prices = [0.0] * TERMS
    for _ in range(ROUNDS):
        gram, right = [[0.0] * TERMS for _ in range(TERMS)], [0.0] * TERMS
        for row, weight in zip(rows, weights, strict=True):
            *x, energy_j = row
            each = weight / energy_j**2
            for i, xi in enumerate(x):
                right[i] += each * xi * energy_j
                for j, xj in enumerate(x):
                    gram[i][j] += each * xi * xj
        prices = nnls(gram, right)
        off = _off(rows, prices)
        limit = FAR * _spread(off)
        weights = [max(0.0, 1.0 - (r / limit) ** 2) ** 2 for r in off]
    return prices


def _off(rows: Sequence[Row], prices: Sequence[float]) -> list[float]:
    """What the prices leave unexplained of each window, relative."""
    return [1.0 - sum(c * x for c, x in zip(prices, row[:TERMS], strict=True)) / row[TERMS] for row in rows]


def _spread(off: Sequence[float]) -> float:
    """A standard deviation that a few far ones do not change: of the median absolute deviation."""
    return max(LEAST_SPREAD, 1.4826 * median(abs(r) for r in off))
