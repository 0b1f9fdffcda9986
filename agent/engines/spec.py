"""What is known about one kind of engine, as data: which metric counts what, and how the page is told from others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.model import Quantity

# What a TYPE line may say of a series that is read as a counter. "" and untyped: the page does not say.
# histogram and summary are there for their _sum and _count, which only grow.
COUNTER_TYPES = frozenset({"", "untyped", "unknown", "counter", "histogram", "summary"})
GAUGE_TYPES = frozenset({"", "untyped", "unknown", "gauge"})
ANY_TYPE = COUNTER_TYPES | GAUGE_TYPES

# Labels that tell one process from another where a page carries several (Ray node, Dynamo worker behind a proxy).
PROCESS_LABELS = ("WorkerId", "ReplicaId", "worker_id", "dynamo_component", "pod", "instance")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a page. name stands without the engine's prefix."""

    name: str
    where: tuple[tuple[str, str], ...] = ()  # labels that a series must carry to count
    outcome: str = ""  # for requests: what every series of this metric means ...
    outcome_labels: tuple[str, ...] = ()  # ... or the label that says it, the first one present


@dataclass(frozen=True, slots=True)
class Alternative:
    """Metrics that together say one quantity.

    instead_of: quantities that are not read beside this one, because they would book the same tokens at another
    moment.
    """

    metrics: tuple[Metric, ...]
    versions: str = ""  # which releases write it
    instead_of: tuple[Quantity, ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """What attribution cannot do without: one of the quantities, or the gauge of running requests if empty."""

    quantities: tuple[Quantity, ...]
    name: str  # the metric that is named when it is missing, without its prefix
    hint: str  # from which version on it is there, and what switches it on
    is_late: bool = False  # it appears with the first request: until a token is counted, nothing is missing


@dataclass(frozen=True, slots=True, eq=False)
class EngineSpec:
    """One kind of engine. In every list of alternatives the first one that the page has is taken, whole, and the
    others are left alone, so that nothing is counted twice."""

    kind: str
    title: str
    prefixes: tuple[str, ...]  # of metric names; any of them at the start of a line tells the engine
    counters: Mapping[Quantity, tuple[Alternative, ...]]
    running: tuple[Metric, ...]
    waiting: tuple[Metric, ...]
    needs: tuple[Need, ...]
    note: str  # one line for the documentation: versions, switches, what to know
    bare_marks: tuple[str, ...] = ()  # names that, all of them there, tell the engine without any prefix
    model_labels: tuple[str, ...] = ()  # the first one present names the model
    replica_labels: tuple[str, ...] = ()  # ranks that each report the same work: the largest is taken, not the sum
    process_labels: tuple[str, ...] = PROCESS_LABELS
    token_models_only: bool = False  # requests count only for models that count tokens (Triton: ensemble steps)
    counter_types: frozenset[str] = COUNTER_TYPES
    metrics_paths: tuple[str, ...] = field(default=("/metrics",))


def one(name: str, *, versions: str = "", **labels: str) -> tuple[Alternative, ...]:
    """The plain case: one metric, with labels that it must carry."""
    return (Alternative((Metric(name, tuple(labels.items())),), versions),)
