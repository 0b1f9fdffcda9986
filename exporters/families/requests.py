"""Single requests, their groups, and what became of their spans."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model import Histogram, Snapshot
from agent.units import label_name
from exporters.family import ENGINE_MODEL, Family, Row, Theme


def request_energy(s: Snapshot) -> Iterator[tuple[tuple[str, ...], Histogram]]:
    if s.requests is not None:
        yield from s.requests.energy.items()


def request_emissions(s: Snapshot) -> Iterator[tuple[tuple[str, ...], Histogram]]:
    if s.requests is not None:
        yield from s.requests.emissions.items()


def request_spans(s: Snapshot) -> Iterator[Row]:
    if s.requests is not None:
        yield from s.requests.spans.items()


def clock_shift(s: Snapshot) -> Iterator[Row]:
    if s.requests is not None:
        for engine, shift_s in s.requests.clock_shift_s.items():
            yield (engine,), shift_s


def group_energy(s: Snapshot) -> Iterator[Row]:
    if s.requests is not None:
        for (engine, model, values), energy_j in s.requests.groups.items():
            yield (engine, model, *values), energy_j


def group_labels(s: Snapshot) -> tuple[str, ...]:
    """tenant.id is tenant_id on a page."""
    return () if s.requests is None else tuple(map(label_name, s.requests.group_by))


REQUESTS = Theme(
    "Single requests",
    (
        Family(
            "joulecar_request_energy_joules",
            "histogram",
            "joules",
            ENGINE_MODEL,
            "Energy of single requests, prefill and decode, whose spans came.",
            notes="Absent unless `otlp.listen` is set. In OpenMetrics every bucket names a trace. Begins anew when the "
            "agent does. Its sum is never more than `joulecar_energy_joules_total` of prefill and decode: requests "
            "without spans keep their share.",
            histograms=request_energy,
        ),
        Family(
            "joulecar_request_emissions_gco2e",
            "histogram",
            "gCO2e",
            ENGINE_MODEL,
            "Grams of CO2 equivalent of single requests, with overhead, PUE and losses.",
            notes="Absent where no grid intensity is known.",
            histograms=request_emissions,
        ),
        Family(
            "joulecar_request_spans_total",
            "counter",
            "spans",
            ("engine", "outcome"),
            "Spans of requests that came, and what became of them.",
            request_spans,
            "`engine` is empty where a span names none that is known. Other spans of a trace are passed by.",
        ),
        Family(
            "joulecar_request_clock_shift_seconds",
            "gauge",
            "seconds",
            ("engine",),
            "How far the clock of the engine's spans is ahead of the agent's: so much is taken off their times.",
            clock_shift,
        ),
        Family(
            "joulecar_group_energy_joules_total",
            "counter",
            "joules",
            ENGINE_MODEL,
            "Energy of single requests, summed by the attributes in `otlp.group_by`, each of which is a label.",
            group_energy,
            "`tenant.id` becomes `tenant_id`. Beyond `otlp.max_groups` all labels are `_other`.",
            more_labels=group_labels,
        ),
    ),
)
