"""Single requests, their groups, and what became of their spans."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.model import Histogram, Snapshot, Use
from agent.units import label_name
from exporters.family import ENGINE_MODEL, Family, Row, Theme

_ACTIVE = (Use.PREFILL, Use.DECODE)


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
            yield (engine,), max(0.0, shift_s)


def span_delay(s: Snapshot) -> Iterator[Row]:
    if s.requests is not None:
        for engine, shift_s in s.requests.clock_shift_s.items():
            yield (engine,), max(0.0, -shift_s)


def request_unclaimed(s: Snapshot) -> Iterator[Row]:
    """Prefill and decode less what requests got. Taken from the same two sums that the page shows, so that the three
    add up after a restart, too; it is what agent/requests.py has left in its windows, and what it holds for
    requests that are not told yet. Below 0 by more than rounding, a joule was given twice: no sample hides that."""
    if s.requests is None:
        return
    active: dict[tuple[str, str], float] = {}
    for (engine, model, use, _), energy_j in s.ledger.energy_j.items():
        if use in _ACTIVE:
            active[engine, model] = active.get((engine, model), 0.0) + energy_j
    for who, energy_j in active.items():
        given = s.requests.energy.get(who)
        yield who, energy_j if given is None else energy_j - given.total


def group_energy(s: Snapshot) -> Iterator[Row]:
    if s.requests is not None:
        yield from _by_group(s.requests.groups)


def group_emissions(s: Snapshot) -> Iterator[Row]:
    if s.requests is not None:
        yield from _by_group(s.requests.groups_gco2e)


def _by_group(amounts: Mapping[tuple[str, str, tuple[str, ...]], float]) -> Iterator[Row]:
    for (engine, model, values), amount in amounts.items():
        yield (engine, model, *values), amount


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
            notes="Absent unless `otlp.listen` is set. In OpenMetrics every bucket names a trace. Its sum is never "
            "more than `joulecar_energy_joules_total` of prefill and decode: requests without spans keep their share, "
            "in `joulecar_request_unclaimed_joules`. With a `state_dir` it goes on after a restart.",
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
            "joulecar_request_unclaimed_joules",
            "gauge",
            "joules",
            ENGINE_MODEL,
            "Energy of prefill and decode that no request was given: what was booked less what requests got.",
            request_unclaimed,
            "Requests without spans, spans that are still to come, and all from before spans were received. A gauge, "
            "since it falls when a late span takes its part. Below 0 by more than rounding is a fault of the agent.",
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
            "joulecar_request_span_delay_seconds",
            "gauge",
            "seconds",
            ("engine",),
            "How long after its end even the quickest of the engine's last 64 spans came, by both clocks.",
            span_delay,
            "Engines send within some 5 s: if it stays far above, their clock is behind the agent's, and joules go to "
            "the wrong requests. Nothing is shifted then, since a slow way looks alike. Above 60, "
            '`joulecar_part_up{part="otlp",name="spans of ..."}` is 0: set the engine\'s clock.',
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
        Family(
            "joulecar_group_emissions_gco2e_total",
            "counter",
            "gCO2e",
            ENGINE_MODEL,
            "Grams of CO2 equivalent of single requests, summed by the same attributes, with overhead, PUE and losses.",
            group_emissions,
            "Absent until grams of a request of the group are known. Requests of unknown grams are in the group's "
            "joules and in none of these.",
            more_labels=group_labels,
        ),
    ),
)
