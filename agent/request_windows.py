"""What a model used along time, as windows, and what requests got of them.

One window for each close of the books: the joules that were booked to the model's phases, and what the engine's
counters told of that time. Joules without tokens join the next window that has some (an engine that books tokens at a
request's end tells them late). How requests take from windows is in agent/request_till.py.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agent.done import Done
from agent.request_pace import Part
from agent.request_prices import RequestFit
from agent.request_shares import Means, Window

MIN_TOKENS = 1e-6  # of a window that is worth sharing out
ENOUGH = 0.3  # of the tokens
MOST = 1.2  # likewise: a token at a window's edge may be in one by its span and in the next by the counters
SHORT = 0.05  # relative; the sensors may be off by as much


@dataclass(frozen=True, slots=True)
class Cover:
    """The part of a window's prompt and generated tokens that spans account for; 1 where there are none."""

    prompt: float = 1.0
    generated: float = 1.0

    @property
    def is_enough(self) -> bool:
        """To learn from: the others, as those that their clients left, are taken to be as these."""
        return all(ENOUGH <= part <= MOST for part in (self.prompt, self.generated))


def cover_of(done: Done, parts: Sequence[Part]) -> Cover:
    prompt, generated = math.fsum(p.told_prompt for p in parts), math.fsum(p.told_generated for p in parts)
    return Cover(
        prompt / done.prompt if done.prompt > 0 else 1.0, generated / done.generated if done.generated > 0 else 1.0
    )


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
    taught_from_s: float = math.inf  # Unix seconds; the end of the first window that was looked at for prices
    ahead: tuple[float, float] = (0.0, 0.0)  # prompt and generated tokens that spans claimed before they were counted

    @property
    def energy_j(self) -> float:
        return self.prefill_j + self.decode_j

    @property
    def means(self) -> Means:
        prompt, generated = self.done.prompt, self.done.generated
        return Means(
            self.prefill_j / prompt if prompt > MIN_TOKENS else 0.0,
            self.decode_j / generated if generated > MIN_TOKENS else 0.0,
        )

    @property
    def left_j(self) -> float:
        """What no request took."""
        opened = 0.0 if self.open is None else self.open.left_j
        return self.spare_j + opened + sum(w.left_j for w in self.windows)

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

    @property
    def is_nothing(self) -> bool:
        """No window knew of it."""
        return self.energy_j == self.missing_j == 0.0

    @property
    def is_short(self) -> bool:
        return self.missing_j > SHORT * self.energy_j


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


def moved(past: Past, by_s: float) -> Past:
    """The same, after the wall clock was set: later by so much."""

    def at(w: Window) -> Window:
        return replace(w, start_s=w.start_s + by_s, end_s=w.end_s + by_s)

    return replace(
        past,
        windows=tuple(at(w) for w in past.windows),
        open=None if past.open is None else at(past.open),
        gone_to_s=past.gone_to_s + by_s,
        taught_from_s=past.taught_from_s + by_s,
    )


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
