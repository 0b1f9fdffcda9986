"""An engine that Joulecar does not know: the config says which metric counts what.

custom = { prompt = "my_prompt_tokens_total", generated = 'my_tokens_total{mode="decode"}', running = "my_running" }
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from agent.engines.exposition import parse_labels
from agent.engines.spec import ANY_TYPE, Alternative, EngineSpec, Metric, Need
from agent.errors import ReadFailed
from agent.model import Quantity

KEYS = (*(q.value for q in Quantity), "running", "waiting")  # what the config may name
_MODEL_LABELS = ("model_name", "model")
_NOTE = "any exposition page: the config names the metric of each quantity, with labels if need be."


def spec_for(custom: Mapping[str, str]) -> EngineSpec:
    """The spec of a page whose metrics are named by the config. Raises ReadFailed for a name that is none."""
    return _spec(tuple(sorted(custom.items())))


@lru_cache(maxsize=64)
def _spec(custom: tuple[tuple[str, str], ...]) -> EngineSpec:
    metrics = {key: _metric(key, text) for key, text in custom}
    counters = {q: (Alternative((metrics[q.value],)),) for q in Quantity if q.value in metrics}
    needs = tuple(
        Need((q,), alternatives[0].metrics[0].name, "as the config names it") for q, alternatives in counters.items()
    )
    return EngineSpec(
        kind="custom",
        title="custom",
        prefixes=("",),
        counters=counters,
        running=tuple(m for k, m in metrics.items() if k == "running"),
        waiting=tuple(m for k, m in metrics.items() if k == "waiting"),
        needs=needs,
        model_labels=_MODEL_LABELS,
        counter_types=ANY_TYPE,  # the config has decided
        note=_NOTE,
    )


def _metric(key: str, text: str) -> Metric:
    if key not in KEYS:
        raise ReadFailed(f"custom.{key} is not a quantity: {', '.join(KEYS)}")
    name, brace, labels = text.strip().partition("{")
    where = parse_labels(labels.rstrip().removesuffix("}")) if brace else {}
    name = name.strip()
    if not name or where is None or (brace and not labels.rstrip().endswith("}")):
        raise ReadFailed(f"custom.{key} is not a metric: {text!r}")
    outcome = ("finished_reason", "status", "outcome") if key == Quantity.REQUESTS.value else ()
    return Metric(name, tuple(where.items()), "", outcome)


SPEC = _spec(())
