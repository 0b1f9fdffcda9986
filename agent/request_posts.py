"""What the books posted to a model's prefill and decode, as windows, with what its engine's counters told then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agent.accounts import Settlement
from agent.done import Done, Who, done_of
from agent.learn import Learned
from agent.model import Entry, Instant, Posting, RequestSpan, Use, Work
from agent.request_shares import Window
from agent.request_windows import Past, forget, post
from agent.timeline import take_work

PHASES = (Use.PREFILL, Use.DECODE)
Works = Mapping[str, tuple[Work, ...]]  # by engine


@dataclass(frozen=True, slots=True)
class Tick:
    """What the books did at this tick."""

    at: Instant
    settlement: Settlement
    postings: Sequence[Posting] = ()
    entries: Sequence[Entry] = ()
    works: Sequence[Work] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)  # engine -> kind
    learned: Mapping[Who, Learned] = field(default_factory=dict)  # prices in force
    learning: bool = True  # False: the configuration says what a prompt token weighs
    spans: Sequence[RequestSpan] = ()
    last: bool = False  # nothing comes after it


def posted(
    pasts: Mapping[Who, Past], works: Works, tick: Tick, *, memory_s: float, patience_s: float
) -> tuple[Mapping[Who, Past], Works]:
    """With this tick's postings, one window for each model, and with what engines told. Windows last for memory_s."""
    heard = dict(works)
    for work in tick.works:
        heard[work.engine] = (*heard.get(work.engine, ()), work)
    found: dict[Who, tuple[Instant, Instant, float, float]] = {}
    for posting in tick.postings:
        for share in posting.shares:
            if share.use in PHASES:
                who = (share.engine, share.model)
                start, end, prefill_j, decode_j = found.get(who, (posting.start, posting.end, 0.0, 0.0))
                more_j = (share.energy_j, 0.0) if share.use is Use.PREFILL else (0.0, share.energy_j)
                found[who] = (
                    min(start, posting.start),
                    max(end, posting.end),
                    prefill_j + more_j[0],
                    decode_j + more_j[1],
                )
    if not found:
        return pasts, heard
    grams = _g_per_j(tick.entries)
    made = dict(pasts)
    for who, (start, end, prefill_j, decode_j) in found.items():
        told = _told(heard.get(who[0], ()), start.mono_s, end.mono_s)
        window = Window(
            start.wall_s,
            end.wall_s,
            prefill_j,
            decode_j,
            done_of(told).get(who, Done()),
            steps=_steps(told, who[1]),
            g_per_j=grams.get(who),
            left_j=prefill_j + decode_j,
        )
        made[who] = forget(post(pasts.get(who) or Past(), window), tick.at.wall_s - memory_s)
    # Nothing is posted later than patience_s, which is longer than the books let anything wait.
    old_s = tick.at.mono_s - 2 * patience_s
    return made, {engine: tuple(w for w in some if w.end.mono_s > old_s) for engine, some in heard.items()}


def _told(works: Sequence[Work], start_s: float, end_s: float) -> list[Work]:
    """What the engine's counters told of the time (mono_s)."""
    _, after = take_work(works, start_s)
    return take_work(after, end_s)[0]


def _steps(works: Sequence[Work], model: str) -> float | None:
    told = [w.models[model].steps for w in works if model in w.models]
    return sum(s or 0.0 for s in told) if told and None not in told else None


def _g_per_j(entries: Iterable[Entry]) -> dict[Who, float]:
    """gCO2e of a joule of each model's phases at this tick, with overhead, PUE and losses; not there where nobody
    told."""
    sums: dict[Who, tuple[float, float]] = {}
    unknown: set[Who] = set()
    for e in entries:
        who = (e.engine, e.model)
        if e.use not in PHASES:
            continue
        if e.gco2e is None or e.unpriced_j > 0:
            unknown.add(who)
        else:
            energy_j, gco2e = sums.get(who, (0.0, 0.0))
            sums[who] = (energy_j + e.energy_j, gco2e + e.gco2e)
    return {w: g / j for w, (j, g) in sums.items() if j > 0 and w not in unknown}
