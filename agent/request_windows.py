"""What a model used along time, and which part of it is a request's.

One window for each close of the books: the joules that were booked to the model's phases, and what the engine's
counters told of that time. Joules without tokens join the next window that has some (an engine that books tokens at a
request's end tells them late).

A window is shared out once, when the spans of the requests that ran in it are there (agent/request_shares.py). Tokens
of the counters that no span claims keep their part. A span that comes later takes from it, at the window's mean price
of a token. What nobody takes stays the model's.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from agent.done import Done
from agent.request_pace import Life, Pace, Part
from agent.request_prices import RequestFit, better, learn
from agent.request_shares import Says, Window, shared

MIN_TOKENS = 1e-6  # of a window that is worth sharing out
LASTING = 0.7  # part of what was told of a window that counts for the next one
ENOUGH = 0.3  # of the tokens
FIRST_S = 120.0  # of a model's windows, which may wait for prices: later it costs more than it is worth
ROUNDING = 1e-9  # relative: less than this is not called scaled down
FEW = 0.05  # share of a window's tokens that may be counted in the window before or after that of their span


@dataclass(frozen=True, slots=True)
class Cover:
    """How many of the engine's tokens spans account for, in the mean of the last few windows: a token at a window's
    edge may be in one by its span and in the next by the counters, and a long prompt is many tokens."""

    since_s: float = math.inf  # Unix seconds; the first window's end
    claimed: tuple[float, float] = (0.0, 0.0)  # prompt and generated tokens
    counted: tuple[float, float] = (0.0, 0.0)

    def plus(self, done: Done, parts: Sequence[Part], end_s: float) -> Cover:
        told = math.fsum(p.told_prompt for p in parts), math.fsum(p.told_generated for p in parts)
        return Cover(
            min(self.since_s, end_s),
            (LASTING * self.claimed[0] + told[0], LASTING * self.claimed[1] + told[1]),
            (LASTING * self.counted[0] + done.prompt, LASTING * self.counted[1] + done.generated),
        )

    @property
    def parts(self) -> tuple[float, float]:
        """Of prompt and generated tokens; 1 where there are none."""
        prompt, generated = (c / n if n > 0 else 1.0 for c, n in zip(self.claimed, self.counted, strict=True))
        return prompt, generated

    @property
    def is_enough(self) -> bool:
        """To learn from: the others, as those that their clients left, are taken to be as these."""
        return all(ENOUGH <= part <= 1.2 for part in self.parts)


@dataclass(frozen=True, slots=True)
class Past:
    """The windows of a model, by their end, and what became of older ones."""

    windows: tuple[Window, ...] = ()
    open: Window | None = None  # joules that wait for tokens
    prefill_j: float = 0.0  # of all windows ever
    decode_j: float = 0.0
    done: Done = field(default_factory=Done)  # in all their time
    counted_to_s: float = -math.inf  # mono_s; up to here done has what was told
    spare_j: float = 0.0  # left of windows that are gone
    gone_to_s: float = float("-inf")  # up to here no window is kept any more
    fit: RequestFit = field(default_factory=RequestFit)
    cover: Cover = field(default_factory=Cover)
    ahead: tuple[float, float] = (0.0, 0.0)  # prompt and generated tokens that spans claimed before they were counted

    @property
    def energy_j(self) -> float:
        return self.prefill_j + self.decode_j

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


@dataclass(frozen=True, slots=True)
class Given:
    """What a request got. missing_j: what it would have got, had the windows not given it to others. less_j, more_j: by
    how much it may have been less or more, for those beside it that have no span."""

    prefill_j: float = 0.0
    decode_j: float = 0.0
    grams: float | None = 0.0
    missing_j: float = 0.0
    less_j: float = 0.0
    more_j: float = 0.0

    @property
    def energy_j(self) -> float:
        return self.prefill_j + self.decode_j


def open_from_s(windows: Sequence[Window]) -> float:
    """Where the first window begins that is not shared out yet; infinity: there is none."""
    return min((w.start_s for w in windows if not w.shared), default=math.inf)


def post(past: Past, new: Window, done: Done | None = None) -> Past:
    """Another window, after those before it or beside them. done: what of its tokens is in none of these; None: all."""
    past = replace(
        past,
        prefill_j=past.prefill_j + new.prefill_j,
        decode_j=past.decode_j + new.decode_j,
        done=past.done.plus(new.done if done is None else done),
    )
    if past.open is not None:
        new = _joined(past.open, new)
    if new.tokens < MIN_TOKENS:
        return replace(past, open=new)
    windows = past.windows
    if windows and windows[-1].end_s > new.end_s:  # of a group of devices that was closed later
        windows = tuple(sorted((*windows, new), key=lambda w: w.end_s))
    else:
        windows = (*windows, new)
    return replace(past, windows=windows, open=None)


def _joined(a: Window, b: Window) -> Window:
    energy_j = a.energy_j + b.energy_j
    known = a.g_per_j is not None and b.g_per_j is not None
    grams = (a.g_per_j or 0.0) * a.energy_j + (b.g_per_j or 0.0) * b.energy_j
    return replace(
        b,
        start_s=min(a.start_s, b.start_s),
        end_s=max(a.end_s, b.end_s),
        prefill_j=a.prefill_j + b.prefill_j,
        decode_j=a.decode_j + b.decode_j,
        done=a.done.plus(b.done),
        g_per_j=grams / energy_j if known and energy_j > 0 else None,
        left_j=a.left_j + b.left_j,
    )


def forget(past: Past, before_s: float) -> Past:
    """Without the windows that ended before; what nobody took of them is remembered as one sum."""
    if not past.windows or past.windows[0].end_s >= before_s:
        return past
    kept = bisect_left(past.windows, before_s, key=lambda w: w.end_s)
    gone = past.windows[:kept]
    return replace(
        past,
        windows=past.windows[kept:],
        spare_j=past.spare_j + sum(w.left_j for w in gone),
        gone_to_s=gone[-1].end_s,
    )


@dataclass(slots=True)
class Till:
    """A model's windows while one tick's requests take from them. Read back with past()."""

    _past: Past
    _windows: list[Window] = field(init=False)
    _ends: list[float] = field(init=False)
    _spare_j: float = field(init=False)
    _ahead: tuple[float, float] = field(init=False)
    _fit: RequestFit = field(init=False)
    _cover: Cover = field(init=False)

    def __post_init__(self) -> None:
        self._windows = list(self._past.windows)
        self._ends = [w.end_s for w in self._windows]
        self._spare_j = self._past.spare_j
        self._ahead = self._past.ahead
        self._fit = self._past.fit
        self._cover = self._past.cover

    def past(self) -> Past:
        return replace(
            self._past, windows=tuple(self._windows), spare_j=self._spare_j, ahead=self._ahead, fit=self._fit
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
        while their prices are still being learned."""
        given = [Given() for _ in lives]
        pace = Pace(lives)
        due: list[tuple[int, list[int]]] = []
        for n, w in enumerate(self._windows):
            if w.shared or w.end_s > until_s:
                continue
            near = [k for k, x in enumerate(lives) if x.begin_s <= w.end_s and x.end_s >= w.start_s]
            due.append((n, near))
            if w.covered is None:
                parts = [pace.part(_of(lives[k], w), w.start_s, w.end_s) for k in near]
                self._cover = self._cover.plus(w.done, parts, w.end_s)
                self._windows[n] = replace(w, covered=self._cover.is_enough)
                if self._cover.is_enough:
                    self._fit = learn(self._fit, parts, w.steps, w.energy_j, self._cover.parts)
        prices = self._best(says)
        waits = says.learning and not self._fit.is_ready
        for n, near in due:
            w = self._windows[n]
            if waits and w.covered and w.end_s > last_s and w.end_s <= self._cover.since_s + FIRST_S:
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
        return others, shared(w, parts, prompt, generated, says)

    def take(self, life: Life, arrived_s: float) -> Given:
        """The joules that go with a life's tokens in windows that were shared out before it came."""
        given = Given()
        pace: Pace | None = None  # seldom needed
        n = bisect_left(self._ends, life.begin_s)
        while n < len(self._windows) and self._windows[n].start_s < max(life.end_s, life.begin_s + ROUNDING):
            w = self._windows[n]
            if w.end_s <= arrived_s:
                pace = pace or Pace([life])
                part = pace.part(_of(life, w), w.start_s, w.end_s)
                prefill_j = w.prefill_j * part.told_prompt / w.done.prompt if w.done.prompt > 0 else 0.0
                decode_j = w.decode_j * part.told_generated / w.done.generated if w.done.generated > 0 else 0.0
                given = self._take(given, prefill_j, decode_j, (n, n + 1, n - 1))
            n += 1
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
        wanted_j = left_j = prefill_j + decode_j
        for n in places:
            if left_j <= wanted_j * ROUNDING or not 0 <= n < len(self._windows):
                continue
            w = self._windows[n]
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


def plus(
    given: Given,
    prefill_j: float,
    decode_j: float,
    g_per_j: float | None,
    *,
    less_j: float = 0.0,
    more_j: float = 0.0,
) -> Given:
    grams = None if given.grams is None or g_per_j is None else given.grams + (prefill_j + decode_j) * g_per_j
    return Given(
        given.prefill_j + prefill_j,
        given.decode_j + decode_j,
        grams,
        given.missing_j,
        given.less_j + less_j,
        given.more_j + more_j,
    )


def added(a: Given, b: Given) -> Given:
    grams = None if a.grams is None or b.grams is None else a.grams + b.grams
    return Given(
        a.prefill_j + b.prefill_j,
        a.decode_j + b.decode_j,
        grams,
        a.missing_j + b.missing_j,
        a.less_j + b.less_j,
        a.more_j + b.more_j,
    )
