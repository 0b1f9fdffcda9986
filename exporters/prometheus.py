"""The snapshot as Prometheus metrics, on a registry of its own: nothing is registered by importing this."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf, isfinite

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar, Sample

from agent.model import Histogram, Snapshot
from agent.ports import SnapshotSource
from exporters.exposition import OPENMETRICS, labels_of, negotiate, write
from exporters.families import FAMILIES
from exporters.family import Family
from exporters.text import clean

MAX_TRACE_ID = 64  # characters; OpenMetrics allows 128 for all labels of an exemplar


class SnapshotCollector(Collector):
    """Every family of the table, from the latest snapshot. Reading changes nothing and touches nothing else."""

    def __init__(self, source: SnapshotSource) -> None:
        self._source = source

    def describe(self) -> Iterable[Metric]:
        return [_empty(family) for family in FAMILIES]

    def collect(self) -> Iterator[Metric]:
        snapshot = self._source.snapshot()
        for family in FAMILIES:
            metric = _filled(family, snapshot)
            if metric.samples:
                yield metric


class Exposition:
    """Renders the snapshot and the agent's own process_* metrics."""

    def __init__(self, source: SnapshotSource, *, process: bool = True) -> None:
        """process: add process_* metrics of this process, read from /proc at each scrape."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(SnapshotCollector(source))
        if process:
            ProcessCollector(registry=self._registry)

    def render(self, accept_header: str = "") -> tuple[bytes, str]:
        """The page and its content type: Prometheus text, or OpenMetrics where the Accept header prefers it."""
        content_type = negotiate(accept_header)
        return write(self._registry.collect(), openmetrics=content_type == OPENMETRICS), content_type


def _empty(family: Family) -> Metric:
    name = family.name.removesuffix("_total")
    unit = family.unit if name.endswith("_" + family.unit) else ""
    return Metric(name, family.help, family.type, unit)


def _filled(family: Family, snapshot: Snapshot) -> Metric:
    metric = _empty(family)
    name, labels, samples = family.name, (*family.labels, *family.more_labels(snapshot)), metric.samples
    for values, histogram in family.histograms(snapshot):
        samples.extend(_buckets(name, labels_of(labels, values), histogram))
    for values, value in family.rows(snapshot):
        # What is not known has no sample: never 0, NaN or infinity in its place.
        if value is not None and isfinite(value):
            samples.append(Sample(name, labels_of(labels, values), float(value)))
    return metric


def _buckets(name: str, labels: dict[str, str], histogram: Histogram) -> Iterator[Sample]:
    count = 0
    for n, bound in enumerate((*histogram.bounds, inf)):
        count += histogram.counts[n]
        seen = histogram.exemplars[n]
        exemplar = (
            Exemplar({"trace_id": clean(seen.trace_id, MAX_TRACE_ID)}, seen.value, seen.at_s)
            if seen is not None
            else None
        )
        le = "+Inf" if bound == inf else repr(bound)
        yield Sample(f"{name}_bucket", {**labels, "le": le}, float(count), None, exemplar)
    yield Sample(f"{name}_count", labels, float(count))
    yield Sample(f"{name}_sum", labels, histogram.total)
