"""What a phase of a model used along time, and which part of it is a request's.

One window for each close of the books: the joules that were booked to the phase, and the tokens that the engine's
counters told of that time. Joules without tokens join the next window that has some (an engine that books tokens at a
request's end tells them late).

A window is shared out once, a little after its end, when the spans of most requests that ran in it are there. Within
it the joules flow evenly over the time in which tokens came, since the power of a busy GPU hardly depends on how many
requests it serves; and at each moment they go to the requests of that moment in proportion to their tokens:

    joules of a request = sum over slices of  joules of the slice * its tokens there / all tokens there

Slices end where a request begins or ends. Tokens of the counters that no span claims are spread over the window, and
keep their part. A span that comes later takes from that part, at the window's mean price of a token. What nobody takes
stays the model's; no window ever gives more than it has.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

MIN_TOKENS = 1e-6  # of a window that is worth sharing out
ROUNDING = 1e-9  # relative: less than this is not called scaled down
FEW = 0.05  # share of a window's tokens that may be missing because a token at its edge was counted in another


@dataclass(frozen=True, slots=True)
class Window:
    """One phase of one model over [start_s, end_s), Unix seconds."""

    start_s: float
    end_s: float
    energy_j: float
    tokens: float  # that cost energy: prompt tokens computed, or generated ones
    cached: float = 0.0  # prompt tokens from the cache, told besides
    g_per_j: float | None = None  # gCO2e of a joule; None: no intensity is known
    left_j: float = 0.0  # not given to any request yet
    shared: bool = False  # among the spans that were there


@dataclass(frozen=True, slots=True)
class Phase:
    """The windows of a phase, by their end, and what became of older ones."""

    windows: tuple[Window, ...] = ()
    open: Window | None = None  # joules that wait for tokens
    energy_j: float = 0.0  # of all windows ever
    tokens: float = 0.0
    spare_j: float = 0.0  # left of windows that are gone
    gone_to_s: float = float("-inf")  # up to here no window is kept any more

    @property
    def left_j(self) -> float:
        """What no request took."""
        opened = 0.0 if self.open is None else self.open.left_j
        return self.spare_j + opened + sum(w.left_j for w in self.windows)

    @property
    def shared_to_s(self) -> float:
        return max((w.end_s for w in self.windows if w.shared), default=self.gone_to_s)

    @property
    def open_from_s(self) -> float:
        return open_from_s(self.windows)

    @property
    def j_per_token(self) -> float | None:
        return self.energy_j / self.tokens if self.tokens > 0 else None


@dataclass(frozen=True, slots=True)
class Claim:
    """Tokens of a request in a phase, even over [start_s, end_s], or all at once where these are the same."""

    start_s: float
    end_s: float
    tokens: float
    with_cached: bool = False  # they are prompt tokens, and nobody told how many came from the cache


@dataclass(frozen=True, slots=True)
class Given:
    """What a request got of a phase. missing_j: what it would have got, had the windows not given it to others."""

    energy_j: float = 0.0
    grams: float | None = 0.0
    missing_j: float = 0.0


def open_from_s(windows: Sequence[Window]) -> float:
    """Where the first window begins that is not shared out yet; infinity: there is none."""
    return min((w.start_s for w in windows if not w.shared), default=math.inf)


def post(phase: Phase, new: Window) -> Phase:
    """Another window, after those before it or beside them."""
    phase = replace(phase, energy_j=phase.energy_j + new.energy_j, tokens=phase.tokens + new.tokens)
    if phase.open is not None:
        new = _joined(phase.open, new)
    if new.tokens < MIN_TOKENS:
        return replace(phase, open=new)
    windows = phase.windows
    if windows and windows[-1].end_s > new.end_s:  # of a group of devices that was closed later
        windows = tuple(sorted((*windows, new), key=lambda w: w.end_s))
    else:
        windows = (*windows, new)
    return replace(phase, windows=windows, open=None)


def _joined(a: Window, b: Window) -> Window:
    energy_j = a.energy_j + b.energy_j
    known = a.g_per_j is not None and b.g_per_j is not None
    grams = (a.g_per_j or 0.0) * a.energy_j + (b.g_per_j or 0.0) * b.energy_j
    return Window(
        min(a.start_s, b.start_s),
        max(a.end_s, b.end_s),
        energy_j,
        a.tokens + b.tokens,
        a.cached + b.cached,
        grams / energy_j if known and energy_j > 0 else None,
        a.left_j + b.left_j,
    )


def forget(phase: Phase, before_s: float) -> Phase:
    """Without the windows that ended before; what nobody took of them is remembered as one sum."""
    if not phase.windows or phase.windows[0].end_s >= before_s:
        return phase
    kept = bisect_left(phase.windows, before_s, key=lambda w: w.end_s)
    gone = phase.windows[:kept]
    return replace(
        phase,
        windows=phase.windows[kept:],
        spare_j=phase.spare_j + sum(w.left_j for w in gone),
        gone_to_s=gone[-1].end_s,
    )


@dataclass(slots=True)
class Till:
    """A phase's windows while one tick's requests take from them. Read back with phase()."""

    _phase: Phase
    _windows: list[Window] = field(init=False)
    _ends: list[float] = field(init=False)
    _spare_j: float = field(init=False)

    def __post_init__(self) -> None:
        self._windows = list(self._phase.windows)
        self._ends = [w.end_s for w in self._windows]
        self._spare_j = self._phase.spare_j

    def phase(self) -> Phase:
        return replace(self._phase, windows=tuple(self._windows), spare_j=self._spare_j)

    @property
    def gone_to_s(self) -> float:
        return self._phase.gone_to_s

    @property
    def energy_j(self) -> float:
        return self._phase.energy_j

    @property
    def j_per_token(self) -> float | None:
        return self._phase.j_per_token

    @property
    def g_per_j(self) -> float | None:
        """Of the latest window."""
        return self._windows[-1].g_per_j if self._windows else None

    @property
    def open_from_s(self) -> float:
        return open_from_s(self._windows)

    def share(self, until_s: float, claims: Sequence[Sequence[Claim]]) -> list[Given]:
        """Share out the windows that end until then. What each one's claims get."""
        given = [Given() for _ in claims]
        for n, w in enumerate(self._windows):
            if w.shared or w.end_s > until_s:
                continue
            here = [(k, part) for k, some in enumerate(claims) for c in some if (part := within(w, c)) is not None]
            parts_j = shared(w, [part for _, part in here])
            for (k, _), part_j in zip(here, parts_j, strict=True):
                given[k] = plus(given[k], part_j, w.g_per_j)
            self._windows[n] = replace(w, left_j=max(0.0, w.left_j - math.fsum(parts_j)), shared=True)
        return given

    def take(self, claims: Iterable[Claim], arrived_s: float) -> Given:
        """The joules that go with these tokens in windows that were shared out before the claim came."""
        given = Given()
        for claim in claims:
            for n, part in self._parts(claim):
                w = self._windows[n]
                if w.end_s > arrived_s:
                    continue
                tokens = w.tokens + w.cached if claim.with_cached else w.tokens
                given = self._take(given, w.energy_j * claim.tokens * part / tokens, (n, n + 1, n - 1))
        return given

    def take_average(self, energy_j: float) -> Given:
        """So much, of what no request took: of windows that are gone first, then of the oldest ones."""
        taken_j = min(energy_j, self._spare_j)
        self._spare_j -= taken_j
        energy_j = self._take(Given(taken_j), energy_j - taken_j, range(len(self._windows))).energy_j
        return Given(energy_j, None if self.g_per_j is None else energy_j * self.g_per_j)

    def _take(self, given: Given, wanted_j: float, places: Sequence[int]) -> Given:
        energy_j, grams, left_j = given.energy_j, given.grams, wanted_j
        for n in places:
            if left_j <= wanted_j * ROUNDING or not 0 <= n < len(self._windows):
                continue
            w = self._windows[n]
            part_j = min(left_j, w.left_j)
            self._windows[n] = replace(w, left_j=w.left_j - part_j)
            energy_j, left_j = energy_j + part_j, left_j - part_j
            grams = None if grams is None or w.g_per_j is None else grams + part_j * w.g_per_j
        return Given(energy_j, grams, given.missing_j + (left_j if left_j > wanted_j * ROUNDING else 0.0))

    def _parts(self, claim: Claim) -> list[tuple[int, float]]:
        """The windows that a claim lies in, and which part of it."""
        # A window ends with the page that was read then, so what happened at its end is on that page.
        n = bisect_left(self._ends, claim.start_s)
        if claim.end_s <= claim.start_s:
            return [(n, 1.0)] if n < len(self._windows) and self._windows[n].start_s <= claim.start_s else []
        parts = []
        span_s = claim.end_s - claim.start_s
        while n < len(self._windows) and self._windows[n].start_s < claim.end_s:
            w = self._windows[n]
            overlap_s = min(w.end_s, claim.end_s) - max(w.start_s, claim.start_s)
            if overlap_s > 0:
                parts.append((n, overlap_s / span_s))
            n += 1
        return parts


@dataclass(frozen=True, slots=True)
class Part:
    """What of a claim lies in a window."""

    start_s: float
    end_s: float
    tokens: float
    with_cached: bool = False


def within(window: Window, claim: Claim) -> Part | None:
    """The part of a claim that lies in a window; a moment lies in the window that ends with it."""
    if claim.end_s <= claim.start_s:
        inside = window.start_s < claim.start_s <= window.end_s
        return Part(claim.start_s, claim.start_s, claim.tokens, claim.with_cached) if inside else None
    start_s, end_s = max(window.start_s, claim.start_s), min(window.end_s, claim.end_s)
    if end_s <= start_s:
        return None
    tokens = claim.tokens * (end_s - start_s) / (claim.end_s - claim.start_s)
    return Part(start_s, end_s, tokens, claim.with_cached)


def shared(window: Window, parts: Sequence[Part]) -> list[float]:
    """Joules of each part. Their sum is never more than the window's."""
    if any(p.end_s <= p.start_s or p.with_cached for p in parts) or not parts:
        return _by_tokens(window, parts)
    known = math.fsum(p.tokens for p in parts)
    others = max(0.0, window.tokens - known)
    edges = sorted({window.start_s, window.end_s, *(t for p in parts for t in (p.start_s, p.end_s))})
    place = {t: n for n, t in enumerate(edges)}
    rates = [0.0] * len(edges)  # known tokens per second that begin here, less those that end
    for p in parts:
        rate = p.tokens / (p.end_s - p.start_s)
        rates[place[p.start_s]] += rate
        rates[place[p.end_s]] -= rate
    running = _running(rates)
    lengths = [b - a for a, b in pairwise(edges)]
    everywhere = others > FEW * window.tokens
    busy_s = math.fsum(s for s, rate in zip(lengths, running, strict=True) if everywhere or rate > 0)
    # From the window's beginning to each edge: joules for one token a second, run through.
    paid = [0.0]
    for seconds, rate in zip(lengths, running, strict=True):
        all_rates = rate + others / busy_s
        slice_j = window.energy_j * seconds / busy_s if everywhere or rate > 0 else 0.0
        paid.append(paid[-1] + (slice_j / all_rates if all_rates > 0 else 0.0))
    found = [p.tokens / (p.end_s - p.start_s) * (paid[place[p.end_s]] - paid[place[p.start_s]]) for p in parts]
    return _no_more(window, found)


def _running(rates: Sequence[float]) -> list[float]:
    """Tokens per second in each slice; what rounding leaves of ended ones is nothing."""
    out, now, most = [], 0.0, 0.0
    for change in rates[:-1]:
        now += change
        most = max(most, now)
        out.append(now if now > most * ROUNDING else 0.0)
    return out


def _by_tokens(window: Window, parts: Sequence[Part]) -> list[float]:
    found = []
    for p in parts:
        tokens = window.tokens + window.cached if p.with_cached else window.tokens
        found.append(window.energy_j * p.tokens / tokens)
    return _no_more(window, found)


def _no_more(window: Window, parts_j: list[float]) -> list[float]:
    """Scaled down to what the window has."""
    total_j = math.fsum(parts_j)
    if total_j <= window.left_j:
        return parts_j
    return [j * (window.left_j / total_j) for j in parts_j]


def plus(given: Given, energy_j: float, g_per_j: float | None) -> Given:
    grams = None if given.grams is None or g_per_j is None else given.grams + energy_j * g_per_j
    return Given(given.energy_j + energy_j, grams, given.missing_j)


def added(a: Given, b: Given) -> Given:
    grams = None if a.grams is None or b.grams is None else a.grams + b.grams
    return Given(a.energy_j + b.energy_j, grams, a.missing_j + b.missing_j)
