"""What an engine did between two samples of its counters: pure functions on per-series differences.

The rules, each of which keeps tokens from being invented or lost:
- what stands on the first sample is history, not work, unless nothing served before it: then it began at 0;
- a series that appears later in the same process began at 0, so its first value is all work;
- a series that vanishes is remembered, and means nothing until it is back;
- a counter that goes down, or a process that began anew, is a restart: the new value is the work since;
- a failed scrape changes nothing: the next good one still carries what was done meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from agent.model import EngineFailure, EngineSample, Instant, ModelWork, Quantity, SeriesKey, Work

MAX_MODELS = 200  # of one engine; the first ones seen keep their names
OTHER_MODEL = "_other"
MAX_SERIES = 20_000  # of one engine; beyond it, vanished series are forgotten
MAX_ASIDE = 4  # processes that are remembered beside the one that answered last
# More than any engine does from its start: what stands higher so soon after nobody answered is an old count, which a
# proxy, a service without ready pods or a full backlog hid for a moment.
MAX_TOKENS_PER_S = 200_000.0
START_TOLERANCE_S = 2.0  # a process's start is told from the boot time, which shifts a little with the wall clock


@dataclass(frozen=True, slots=True)
class WorkState:
    """What is remembered of an engine from sample to sample."""

    at: Instant | None = None  # of the last good sample
    process_start_s: float | None = None  # of the process that answered last
    running: float | None = None
    values: Mapping[SeriesKey, float] = field(default_factory=dict)  # of the present process, vanished ones too
    aside: tuple[tuple[float, Mapping[SeriesKey, float]], ...] = ()  # other processes' starts and their values
    from_zero_at: Instant | None = None  # nothing served then, and nothing good came since
    owed: Mapping[str, float] = field(default_factory=dict)  # model -> tokens (<= 0) told before their prompt was
    models: frozenset[str] = frozenset()  # those booked under their own name


def advance(state: WorkState, seen: EngineSample | EngineFailure) -> tuple[WorkState, Work | None]:
    """The state after what was seen, and the work since the last good sample; None if there is none to tell.

    Work without any change is work too: zeros are information. A sample that is not later than the last one is
    left aside; its counters come again.
    """
    if isinstance(seen, EngineFailure):
        return (replace(state, from_zero_at=seen.at) if seen.not_serving else state), None
    if state.at is not None and seen.at.mono_s <= state.at.mono_s:
        return state, None

    models = _admitted(state.models, seen)
    if state.from_zero_at is not None and not _began_since(state.from_zero_at, seen):
        state = replace(state, from_zero_at=None)
    start = state.at or state.from_zero_at
    if start is None:
        return _after(WorkState(), seen, seen.counters, {}, models), None

    base, restarted = _base(state, seen)
    deltas = _deltas(base, seen.counters)
    values = {**base, **seen.counters}
    if len(values) > MAX_SERIES:
        values = dict(seen.counters)
    present = {_booked(k.model, models) for k in seen.counters} | {_booked(m, models) for m in seen.running}
    tokens, requests = _by_model(deltas, models)
    owed = {} if restarted else dict(state.owed)
    works: dict[str, ModelWork] = {}
    for model in sorted(present):
        works[model], owed[model] = _model_work(tokens.get(model, {}), requests.get(model, {}), owed.get(model, 0.0))

    running_end = sum(seen.running.values()) if seen.running else None
    running_start = state.running if state.at is not None else (None if running_end is None else 0.0)
    work = Work(
        engine=seen.engine,
        start=start,
        end=seen.at,
        models=MappingProxyType(works),
        running_start=running_start,
        running_end=running_end,
        restarted=restarted,
    )
    return _after(state, seen, values, {m: o for m, o in owed.items() if o}, models), work


def _after(
    state: WorkState,
    seen: EngineSample,
    values: Mapping[SeriesKey, float],
    owed: Mapping[str, float],
    models: frozenset[str],
) -> WorkState:
    before, now = state.process_start_s, seen.process_start_s
    aside = state.aside
    if before is not None and now is not None and not _same(before, now):
        others = [(start, of) for start, of in aside if not _same(start, now)]
        aside = (*others, (before, state.values))[-MAX_ASIDE:]
    return WorkState(
        at=seen.at,
        process_start_s=before if now is None else now,
        running=sum(seen.running.values()) if seen.running else None,
        values=MappingProxyType(dict(values)),
        aside=aside,
        owed=MappingProxyType(dict(owed)),
        models=models,
    )


def _began_since(nobody_at: Instant, seen: EngineSample) -> bool:
    """Can all that stands on the page have been counted since nobody answered?"""
    possible = MAX_TOKENS_PER_S * max(5.0, seen.at.mono_s - nobody_at.mono_s)
    return all(v <= possible for k, v in seen.counters.items() if k.quantity is not Quantity.REQUESTS)


def _base(state: WorkState, seen: EngineSample) -> tuple[dict[SeriesKey, float], bool]:
    """What each known series is counted from, and whether the engine began anew. A series that is not in it is
    counted from 0."""
    if state.at is None:
        return {}, False  # it began at 0 after it had not been serving
    before, now = state.process_start_s, seen.process_start_s
    told = before is not None and now is not None
    values = state.values
    if before is not None and now is not None and not _same(before, now):
        known = [of for start, of in state.aside if _same(start, now)]
        if not known and now > max([before, *(start for start, _ in state.aside)]):
            return {}, True
        # No process begins before the one that it replaces: this is another server behind the same address. At
        # first what it has is history; then it goes on from its own values, in turn with the other.
        values = known[0] if known else seen.counters
    dropped = {k for k, v in seen.counters.items() if v < values.get(k, 0.0)}
    if not dropped:
        # Nobody answered for a moment, perhaps, but what is counted goes on: a tunnel, a full backlog, a probe. To
        # take it for a new process would book its whole history once more.
        return _without_replaced(values, seen.counters), False
    if not told and state.from_zero_at is not None:
        return {}, True
    if told:  # the process lives: only these series began anew
        return {k: v for k, v in values.items() if k not in dropped}, True
    # The process does not say when it began: all that it counts began anew, what other processes count did not.
    processes = {k.process for k in dropped}
    return {k: v for k, v in values.items() if k.process not in processes}, True


def _same(start: float, other: float) -> bool:
    return abs(start - other) <= START_TOLERANCE_S


def _metric(key: SeriesKey) -> str:
    return key.series.partition("{")[0]


def _without_replaced(values: Mapping[SeriesKey, float], counters: Mapping[SeriesKey, float]) -> dict[SeriesKey, float]:
    """The last values, where a quantity that is now told by another metric goes on from what the old one had told.

    Both count since the process began. Taking the new one from 0 would book all of it twice.
    """
    told_by: dict[Quantity, set[str]] = {}
    for key in counters:
        told_by.setdefault(key.quantity, set()).add(_metric(key))
    replaced = {key for key in values if key.quantity in told_by and _metric(key) not in told_by[key.quantity]}
    still_told = {k.quantity for k in values if k not in replaced and _metric(k) in told_by.get(k.quantity, ())}
    replaced = {k for k in replaced if k.quantity not in still_told}
    if not replaced:
        return dict(values)
    credit: dict[tuple[Quantity, str], float] = {}
    for key in replaced:
        slot = (key.quantity, key.model)
        credit[slot] = credit.get(slot, 0.0) + values[key]
    base = {k: v for k, v in values.items() if k not in replaced}
    for key in sorted(counters):
        slot = (key.quantity, key.model)
        if key not in base and credit.get(slot):
            base[key] = min(credit[slot], counters[key])
            credit[slot] -= base[key]
    return base


def _deltas(base: Mapping[SeriesKey, float], counters: Mapping[SeriesKey, float]) -> dict[SeriesKey, float]:
    """The growth of every series that is or was there; a vanished one has not grown."""
    deltas = {k: v - base.get(k, 0.0) for k, v in counters.items()}
    return {**dict.fromkeys(base, 0.0), **deltas}


def _admitted(models: frozenset[str], seen: EngineSample) -> frozenset[str]:
    new = sorted({k.model for k in seen.counters} | set(seen.running))
    new = [m for m in new if m not in models and m != OTHER_MODEL]
    return models.union(new[: MAX_MODELS - len(models)]) if new else models


def _booked(model: str, models: frozenset[str]) -> str:
    return model if model in models else OTHER_MODEL


_Tokens = dict[str, dict[Quantity, float]]
_Requests = dict[str, dict[str, float]]


def _by_model(deltas: Mapping[SeriesKey, float], models: frozenset[str]) -> tuple[_Tokens, _Requests]:
    """Tokens by model and quantity, requests by model and outcome; what is not told is not there."""
    tokens: _Tokens = {}
    requests: _Requests = {}
    for key, delta in deltas.items():
        model = _booked(key.model, models)
        if key.quantity is Quantity.REQUESTS:
            outcomes = requests.setdefault(model, {})
            outcomes[key.outcome] = outcomes.get(key.outcome, 0.0) + delta
        else:
            quantities = tokens.setdefault(model, {})
            quantities[key.quantity] = quantities.get(key.quantity, 0.0) + delta
    return tokens, requests


def _model_work(
    totals: Mapping[Quantity, float], requests: Mapping[str, float], owed: float
) -> tuple[ModelWork, float]:
    """The work of one model, and what it owes from now on.

    Where two of prompt, computed and cached are told, the third is derived. Engines book cached tokens when a
    request is scheduled and its prompt when the first token comes out, so that a difference may be negative for a
    while: that part is owed and taken from the next one, which keeps the sums exact and every step >= 0.
    """
    prompt = totals.get(Quantity.PROMPT)
    computed = totals.get(Quantity.PROMPT_COMPUTED)
    cached = totals.get(Quantity.PROMPT_CACHED)
    if prompt is not None and computed is None and cached is None:
        computed = prompt
    elif prompt is not None and computed is None and cached is not None:
        left = owed + prompt - cached
        computed, owed = max(0.0, left), min(0.0, left)
    elif prompt is not None and computed is not None and cached is None:
        left = owed + prompt - computed
        cached, owed = max(0.0, left), min(0.0, left)
    generated = totals.get(Quantity.GENERATED)
    steps, first_tokens = totals.get(Quantity.STEPS), totals.get(Quantity.FIRST_TOKENS)
    inference_s = totals.get(Quantity.INFERENCE_S)
    done = ModelWork(computed, cached, generated, MappingProxyType(dict(requests)), steps, first_tokens, inference_s)
    return done, owed
