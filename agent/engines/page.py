"""From an engine's page to one sample: which number is which quantity of which model."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType

from agent.engines.exposition import Sample, Wanted, scan, want
from agent.engines.recognise import recognise
from agent.engines.spec import GAUGE_TYPES, Alternative, EngineSpec, Metric
from agent.model import EngineSample, Instant, Quantity, SeriesKey

MAX_LABEL = 128  # characters of a model's name
MAX_COUNT = 2.0**53  # above it a float no longer counts single tokens
MAX_MISSING = 20  # faults told of one page

_PROCESS_START = "process_start_time_seconds"
_UNDECLARED = "no TYPE line"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TOKENS = frozenset({Quantity.PROMPT, Quantity.PROMPT_COMPUTED, Quantity.PROMPT_CACHED, Quantity.GENERATED})
_OUTCOMES = frozenset(
    {"stop", "length", "abort", "error", "repetition", "success", "failure", "finished", "cancelled", "timeout"}
)
_NO_CUSTOM: Mapping[str, str] = MappingProxyType({})


def read_page(
    page: bytes,
    *,
    engine: str,
    at: Instant,
    kind: str = "auto",
    model: str = "",
    custom: Mapping[str, str] = _NO_CUSTOM,
    keep_page: bool = False,
) -> EngineSample:
    """One sample from an engine's exposition page.

    model names what a page without a model label serves; where it is "", the engine's name stands in for it.
    What cannot be a count (NaN, infinite, negative, beyond 2^53) is left out and told in missing, like a series
    that attribution needs and the page lacks.

    Raises ReadFailed: not an exposition page, or not a known engine's.
    """
    spec, prefix = recognise(page, kind, custom)
    found = scan(page, _wanted(spec, prefix))
    by_name: dict[str, list[Sample]] = {}
    for sample in found.samples:
        by_name.setdefault(sample.name.removeprefix(prefix), []).append(sample)
    faults = [f"cannot be read: {line}" for line in found.malformed]
    default_model = model_name(model) or engine

    chosen = _chosen(spec, prefix, by_name, found.types)
    counters: dict[SeriesKey, float] = {}
    for quantity, alternative in chosen.items():
        for metric in alternative.metrics:
            _count(spec, quantity, metric, by_name.get(metric.name, ()), default_model, counters, faults)
    if spec.token_models_only:
        counters = _of_token_models(counters)
    running = _gauge(spec, spec.running, by_name, default_model, faults)
    has_served = any(value > 0 for key, value in counters.items() if key.quantity in _TOKENS)
    missing = [*_lacking(spec, prefix, chosen, has_running=bool(running), has_served=has_served), *faults]
    return EngineSample(
        engine=engine,
        at=at,
        kind=spec.kind,
        counters=MappingProxyType(counters),
        running=MappingProxyType(running),
        waiting=MappingProxyType(_gauge(spec, spec.waiting, by_name, default_model, faults)),
        process_start_s=_process_start(by_name.get(_PROCESS_START, ())),
        version=next((a.versions for a in chosen.values() if a.versions), ""),
        missing=tuple(missing[:MAX_MISSING]),
        page=page.decode(errors="replace") if keep_page else None,
    )


@lru_cache(maxsize=64)
def _wanted(spec: EngineSpec, prefix: str) -> Wanted:
    metrics = [m for alternatives in spec.counters.values() for a in alternatives for m in a.metrics]
    names = {prefix + m.name for m in (*metrics, *spec.running, *spec.waiting)}
    return want(names | {_PROCESS_START})


def _chosen(
    spec: EngineSpec, prefix: str, by_name: Mapping[str, list[Sample]], types: Mapping[str, str]
) -> dict[Quantity, Alternative]:
    """For each quantity the first alternative that the page has. A family that is declared and has no series yet
    is there: its series appear with the first request, and then begin at 0."""

    def there(metric: Metric) -> bool:
        return types.get(prefix + metric.name, _UNDECLARED) in spec.counter_types or any(
            s.type in spec.counter_types for s in by_name.get(metric.name, ())
        )

    chosen: dict[Quantity, Alternative] = {}
    for quantity, alternatives in spec.counters.items():
        for alternative in alternatives:
            if any(there(m) for m in alternative.metrics):
                chosen[quantity] = alternative
                break
    for alternative in tuple(chosen.values()):
        for quantity in alternative.instead_of:
            chosen.pop(quantity, None)
    return chosen


def _count(
    spec: EngineSpec,
    quantity: Quantity,
    metric: Metric,
    samples: Iterable[Sample],
    default_model: str,
    counters: dict[SeriesKey, float],
    faults: list[str],
) -> None:
    """Add a metric's series to counters. Ranks that report the same work share a key: the largest stays."""
    for sample in samples:
        of = sample.labels.of
        if sample.type not in spec.counter_types or "quantile" in of or not _carries(of, metric.where):
            continue  # a gauge of the same name is a twin, not a counter (Ray writes both)
        if not 0 <= sample.value <= MAX_COUNT:  # NaN compares false
            faults.append(f"{sample.name} is {sample.value}: not a count")
            continue
        key = SeriesKey(
            quantity,
            _model(spec, of, default_model),
            _series(spec, metric.name, sample),
            _outcome(metric, of) if quantity is Quantity.REQUESTS else "",
            ",".join(f"{k}={of[k]}" for k in spec.process_labels if k in of),
        )
        counters[key] = max(sample.value, counters.get(key, 0.0))


def _gauge(
    spec: EngineSpec,
    metrics: Iterable[Metric],
    by_name: Mapping[str, list[Sample]],
    default_model: str,
    faults: list[str],
) -> dict[str, float]:
    """The first gauge that the page has, summed over ranks, by model. A model one of whose ranks says nonsense is
    left out: unknown is not 0."""
    for metric in metrics:
        series: dict[tuple[str, str], float] = {}
        unknown: set[str] = set()
        for sample in by_name.get(metric.name, ()):
            if sample.type not in GAUGE_TYPES or not _carries(sample.labels.of, metric.where):
                continue
            model = _model(spec, sample.labels.of, default_model)
            if not 0 <= sample.value <= MAX_COUNT:
                faults.append(f"{sample.name} is {sample.value}: not a number of requests")
                unknown.add(model)
                continue
            key = (model, _series(spec, metric.name, sample))
            series[key] = max(sample.value, series.get(key, 0.0))
        if series or unknown:
            total: dict[str, float] = {}
            for (model, _), value in series.items():
                total[model] = total.get(model, 0.0) + value
            return {m: v for m, v in total.items() if m not in unknown}
    return {}


def _lacking(
    spec: EngineSpec, prefix: str, chosen: Mapping[Quantity, Alternative], *, has_running: bool, has_served: bool
) -> Iterable[str]:
    for need in spec.needs:
        if need.is_late and not has_served:
            continue
        if not (any(q in chosen for q in need.quantities) if need.quantities else has_running):
            yield f"{prefix}{need.name} ({need.hint})"


def _of_token_models(counters: Mapping[SeriesKey, float]) -> dict[SeriesKey, float]:
    models = {k.model for k in counters if k.quantity in _TOKENS}
    return {k: v for k, v in counters.items() if k.model in models or not models}


def _process_start(samples: Iterable[Sample]) -> float | None:
    """When the engine's process began. A page with several processes does not say which one counts the tokens."""
    starts = [s.value for s in samples]
    return starts[0] if len(starts) == 1 and math.isfinite(starts[0]) else None


def _carries(of: Mapping[str, str], where: tuple[tuple[str, str], ...]) -> bool:
    return all(of.get(name) == value for name, value in where)


def _model(spec: EngineSpec, of: Mapping[str, str], default_model: str) -> str:
    for label in spec.model_labels:
        if of.get(label):
            return model_name(of[label]) or default_model
    return default_model


def model_name(text: str) -> str:
    """A name fit for a label: no control characters, at most MAX_LABEL characters."""
    return _CONTROL.sub("\ufffd", text).strip()[:MAX_LABEL]


def _outcome(metric: Metric, of: Mapping[str, str]) -> str:
    """How requests ended, in words that are known: a page cannot make up any number of them."""
    if not metric.outcome_labels:
        return metric.outcome or "finished"
    said = next((of[label] for label in metric.outcome_labels if label in of), "finished")
    return said if said in _OUTCOMES else "other"


def _series(spec: EngineSpec, name: str, sample: Sample) -> str:
    """What tells a series from the others: its metric and its labels, less those of ranks doing the same work."""
    labels = sample.labels
    if any(label in labels.of for label in spec.replica_labels):
        text = ",".join(f"{k}={v!r}" for k, v in sorted(labels.of.items()) if k not in spec.replica_labels)
    else:
        text = labels.text
    return f"{name}{{{text}}}"
