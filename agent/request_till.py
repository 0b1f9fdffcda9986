"""A model's windows while the requests of one tick take from them.

A window is shared out once, when the spans of the requests that ran in it are there (agent/request_shares.py). Tokens
of the counters that no span claims keep their part. A span that comes later takes from it, at the window's mean price
of a token. What nobody takes stays the model's.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from agent.request_pace import Life, Pace
from agent.request_prices import RequestFit, better, learn
from agent.request_shares import Says, Window, shared
from agent.request_windows import Given, Past, cover_of, open_from_s, plus

FIRST_S = 120.0  # of a model's windows, which may wait for prices: later it costs more than it is worth
ROUNDING = 1e-9  # relative: less than this is not called scaled down
FEW = 0.05  # share of a window's tokens that may be counted in the window before or after that of their span


@dataclass(slots=True)
class Till:
    """A model's windows while one tick's requests take from them. Read back with past()."""

    _past: Past
    _windows: list[Window] = field(init=False)
    _ends: list[float] = field(init=False)
    _spare_j: float = field(init=False)
    _ahead: tuple[float, float] = field(init=False)
    _fit: RequestFit = field(init=False)
    _taught_from_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._windows = list(self._past.windows)
        self._ends = [w.end_s for w in self._windows]
        self._spare_j = self._past.spare_j
        self._ahead = self._past.ahead
        self._fit = self._past.fit
        self._taught_from_s = self._past.taught_from_s

    def past(self) -> Past:
        return replace(
            self._past,
            windows=tuple(self._windows),
            spare_j=self._spare_j,
            ahead=self._ahead,
            fit=self._fit,
            taught_from_s=self._taught_from_s,
        )

    @property
    def before(self) -> Past:
        """As it was; what is given now changes no sum of it."""
        return self._past

    @property
    def g_per_j(self) -> float | None:
        """Of the latest window."""
        return self._windows[-1].g_per_j if self._windows else None

    @property
    def open_from_s(self) -> float:
        return open_from_s(self._windows)

    def share(self, until_s: float, lives: Sequence[Life], says: Says, last_s: float = math.inf) -> list[Given]:
        """Share out the windows that end until then. What each of the lives gets. Those that end after last_s wait
        while prices are still being learned, if more than one request would share them."""
        given = [Given() for _ in lives]
        pace = Pace(lives)
        due: list[tuple[int, list[int]]] = []
        for n, w in enumerate(self._windows):
            if w.shared or w.end_s > until_s:
                continue
            near = [k for k, x in enumerate(lives) if x.begin_s <= w.end_s and x.end_s >= w.start_s]
            due.append((n, near))
            if w.crowded is None:
                parts = [pace.part(_of(lives[k], w), w.start_s, w.end_s) for k in near]
                cover = cover_of(w.done, parts)
                self._taught_from_s = min(self._taught_from_s, w.end_s)
                requests = sum(p.told_prompt > 0 or p.told_generated > 0 for p in parts)
                self._windows[n] = replace(w, crowded=cover.is_enough and requests > 1)
                known = cover.prompt, cover.generated
                enough = cover.is_enough
                self._fit = learn(self._fit, parts, w.steps, w.energy_j, known) if enough else self._fit.miss()
        prices = self._best(says)
        waits = says.learning and not self._fit.is_ready
        for n, near in due:
            w = self._windows[n]
            if waits and w.crowded and w.end_s > last_s and w.end_s <= self._taught_from_s + FIRST_S:
                continue
            some = [_of(lives[k], w) for k in near]
            others, parts_j = self._shared(w, pace, some, prices)
            doubts = _doubts(w, pace, some, others)
            for k, (prefill_j, decode_j), (less, more) in zip(near, parts_j, doubts, strict=True):
                given[k] = plus(
                    given[k], prefill_j, decode_j, w.g_per_j, less_j=decode_j * less, more_j=decode_j * more
                )
            given_j = math.fsum(j for both in parts_j for j in both)
            self._windows[n] = replace(w, left_j=max(0.0, w.left_j - given_j), shared=True)
        return given

    def _best(self, says: Says) -> Says:
        """What the books say, or what spans taught of the same windows."""
        if not says.learning:
            return Says(None, 0.0)
        price = better(self._fit, says.price)
        return says if price is says.price else Says(price, 1.0)

    def _shared(
        self, w: Window, pace: Pace, lives: Sequence[Life], says: Says
    ) -> tuple[float, list[tuple[float, float]]]:
        """How many requests without a span were in a step, in the mean, and what each life gets."""
        others = 0.0
        parts = [pace.part(x, w.start_s, w.end_s) for x in lives]
        prompt, ahead_prompt = _unclaimed(w.done.prompt, [p.told_prompt for p in parts], self._ahead[0])
        generated, ahead_generated = _unclaimed(w.done.generated, [p.told_generated for p in parts], self._ahead[1])
        self._ahead = ahead_prompt, ahead_generated
        if generated > 0 and w.done.steps > 0:  # who has no span takes part in the steps, too
            others = generated / w.done.steps
            beside = pace.beside(others)
            parts = [beside.part(x, w.start_s, w.end_s) for x in lives]
        return others, shared(w, parts, prompt, generated, says, self._past.means)

    def take(self, life: Life) -> Given:
        """The joules that go with the tokens of a life that comes now, in windows that were shared out without it."""
        given = Given()
        pace: Pace | None = None  # seldom needed
        for n in range(bisect_left(self._ends, life.begin_s), len(self._windows)):
            w = self._windows[n]
            if not w.shared or w.start_s >= max(life.end_s, life.begin_s + ROUNDING):
                continue
            pace = pace or Pace([life])
            part = pace.part(_of(life, w), w.start_s, w.end_s)
            prefill_j = w.prefill_j * part.told_prompt / w.done.prompt if w.done.prompt > 0 else 0.0
            decode_j = w.decode_j * part.told_generated / w.done.generated if w.done.generated > 0 else 0.0
            given = self._take(given, prefill_j, decode_j, (n, n + 1, n - 1))
        return given

    def take_average(self, prefill_j: float, decode_j: float) -> Given:
        """So much, of what no request took: of windows that are gone first, then of the oldest ones."""
        wanted_j = prefill_j + decode_j
        taken_j = min(wanted_j, self._spare_j)
        self._spare_j -= taken_j
        rest = (wanted_j - taken_j) / wanted_j if wanted_j > 0 else 0.0
        more = self._take(Given(), prefill_j * rest, decode_j * rest, range(len(self._windows)))
        prefill_j, decode_j = prefill_j * (1 - rest) + more.prefill_j, decode_j * (1 - rest) + more.decode_j
        grams = None if self.g_per_j is None else (prefill_j + decode_j) * self.g_per_j
        return Given(prefill_j, decode_j, grams)

    def _take(self, given: Given, prefill_j: float, decode_j: float, places: Iterable[int]) -> Given:
        """Of windows that were shared out, as far as they have some left: the others are for those who ran in them."""
        wanted_j = left_j = prefill_j + decode_j
        for n in places:
            if left_j <= wanted_j * ROUNDING:
                break
            if not 0 <= n < len(self._windows):
                continue
            w = self._windows[n]
            if not w.shared or w.left_j <= 0:
                continue
            part_j = min(left_j, w.left_j)
            self._windows[n] = replace(w, left_j=w.left_j - part_j)
            left_j -= part_j
            given = plus(given, part_j * (prefill_j / wanted_j), part_j * (decode_j / wanted_j), w.g_per_j)
        return replace(given, missing_j=given.missing_j + (left_j if left_j > wanted_j * ROUNDING else 0.0))


def _doubts(window: Window, pace: Pace, lives: Sequence[Life], others: float) -> list[tuple[float, float]]:
    """By how much less and more of its decode joules each life may have had, relative, since nobody told when those
    without a span were there: one standard deviation of a number that is Poisson's."""
    if others <= 0:
        return [(0.0, 0.0)] * len(lives)
    numbers = (others + others**0.5, others, max(0.0, others - others**0.5))
    paces = [pace.beside(n) for n in numbers]
    found = []
    for life in lives:
        least, mean, most = (p.part(life, window.start_s, window.end_s).seconds for p in paces)
        found.append((1 - least / mean, most / mean - 1) if mean > 0 else (0.0, 0.0))
    return found


def _of(life: Life, window: Window) -> Life:
    """The life as the engine counts it: where nobody told what was cached, the window's own share is taken."""
    if not life.with_cached or window.computed_part >= 1.0:
        return life
    return replace(life, prompt=life.prompt * window.computed_part)


def _unclaimed(counted: float, claims: Sequence[float], ahead: float) -> tuple[float, float]:
    """Tokens that no span claims, and those that are claimed before they are counted: a token at a window's edge may be
    in one by its span and in the next by the counters, and is nobody else's for that."""
    ahead += math.fsum(claims) - counted
    return max(0.0, -ahead), min(max(0.0, ahead), FEW * counted)
