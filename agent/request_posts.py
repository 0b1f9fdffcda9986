"""What the books posted to a model's prefill and decode, as windows, with what its engine's counters told then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.accounts import Settlement
from agent.done import Done, Who, done_of
from agent.learn import Learned
from agent.model import Entry, Instant, Posting, RequestSpan, Use, Work
from agent.request_shares import Window
from agent.request_windows import Past, forget, post
from agent.timeline import by_wall, take_work

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
    heard = _heard(works, tick, tick.at.mono_s - 2 * patience_s)
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
    counts = Counts(heard)
    for who, (start, end, prefill_j, decode_j) in found.items():
        past = pasts.get(who) or Past()
        told, done = counts.of(who, start.mono_s, end.mono_s)
        new = done
        if start.mono_s < past.counted_to_s:  # of other devices, posted later: each token counts once
            new = counts.of(who, past.counted_to_s, end.mono_s)[1]
        window = Window(
            *by_wall(start, end),
            prefill_j,
            decode_j,
            done,
            steps=_steps(told, who[1]),
            g_per_j=grams.get(who),
            left_j=prefill_j + decode_j,
        )
        past = replace(post(past, window, new), counted_to_s=max(past.counted_to_s, end.mono_s))
        made[who] = forget(past, tick.at.wall_s - memory_s)
    return made, heard


def _heard(works: Works, tick: Tick, old_s: float) -> dict[str, tuple[Work, ...]]:
    """With what this tick told, and without what ended before old_s (mono_s): nothing is posted later than patience_s,
    which is longer than the books let anything wait. An engine at rest is heard, too, and posts nothing."""
    heard = {engine: some if some[0].end.mono_s > old_s else _since(some, old_s) for engine, some in works.items()}
    for work in tick.works:
        heard[work.engine] = (*heard.get(work.engine, ()), work)
    return {engine: some for engine, some in heard.items() if some}


def _since(works: Sequence[Work], old_s: float) -> tuple[Work, ...]:
    return tuple(w for w in works if w.end.mono_s > old_s)


@dataclass(slots=True)
class Counts:
    """What the engines' counters told, cut to times. Models of an engine ask for the same ones: each is cut once."""

    _heard: Works
    _cut: dict[tuple[str, float, float], tuple[list[Work], Mapping[Who, Done]]] = field(default_factory=dict)

    def of(self, who: Who, start_s: float, end_s: float) -> tuple[list[Work], Done]:
        """The engine's work from start_s to end_s (mono_s), and what of it was the model's."""
        key = (who[0], start_s, end_s)
        if key not in self._cut:
            _, after = take_work(self._heard.get(who[0], ()), start_s)
            told = take_work(after, end_s)[0] if start_s < end_s else []
            self._cut[key] = told, done_of(told)
        told, done = self._cut[key]
        return told, done.get(who, Done())


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
