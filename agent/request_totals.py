"""Sums over requests: histograms with the traces that stand for their buckets, groups, and what became of spans."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from agent.model import Exemplar, Histogram, RequestEnergy, RequestOutcome, RequestTotals

ENERGY_BOUNDS_J = (*(float(f"{m}e{e}") for e in range(-1, 5) for m in (1, 2.5, 5)), 1e5)
EMISSIONS_BOUNDS_G = (*(float(f"{m}e{e}") for e in range(-5, 1) for m in (1, 2.5, 5)), 10.0)
OTHER = "_other"
MAX_VALUE = 128  # characters of a group's value

Group = tuple[str, str, tuple[str, ...]]  # engine, model, values


def note(
    totals: RequestTotals,
    done: Sequence[RequestEnergy],
    outcomes: Iterable[tuple[str, RequestOutcome]],
    *,
    at_s: float,
    max_groups: int,
) -> RequestTotals:
    """The totals with these requests, and what became of these spans. at_s: Unix seconds, of the exemplars."""
    spans = dict(totals.spans)
    for key in outcomes:
        spans[key] = spans.get(key, 0) + 1
    if not done:
        return replace(totals, spans=spans)
    groups, grams = _grouped(totals, done, max_groups) if totals.group_by else (totals.groups, totals.groups_gco2e)
    return replace(
        totals,
        spans=spans,
        energy=_observed(totals.energy, ((r, r.energy_j) for r in done), ENERGY_BOUNDS_J, at_s),
        emissions=_observed(totals.emissions, ((r, r.gco2e) for r in done), EMISSIONS_BOUNDS_G, at_s),
        groups=groups,
        groups_gco2e=grams,
    )


def _observed(
    known: Mapping[tuple[str, str], Histogram],
    new: Iterable[tuple[RequestEnergy, float | None]],
    bounds: tuple[float, ...],
    at_s: float,
) -> dict[tuple[str, str], Histogram]:
    drafts: dict[tuple[str, str], tuple[list[int], list[Exemplar | None], float]] = {}
    for r, value in new:
        if value is None:
            continue
        who = (r.engine, r.model)
        if who not in drafts:
            h = known.get(who) or Histogram(bounds, (0,) * (len(bounds) + 1), 0.0, (None,) * (len(bounds) + 1))
            drafts[who] = (list(h.counts), list(h.exemplars), h.total)
        counts, exemplars, total = drafts[who]
        n = bisect_left(bounds, value)
        counts[n] += 1
        if r.trace_id:
            exemplars[n] = Exemplar(r.trace_id, value, at_s)
        drafts[who] = (counts, exemplars, total + value)
    made = {who: Histogram(bounds, tuple(c), total, tuple(e)) for who, (c, e, total) in drafts.items()}
    return {**known, **made}


def _grouped(
    totals: RequestTotals, done: Sequence[RequestEnergy], max_groups: int
) -> tuple[dict[Group, float], dict[Group, float]]:
    """Joules and grams by the values of the configured attributes; values beyond max_groups are one group. So many
    groups there are in all: who sends a thousand tenants makes no thousand series. Unknown grams are in none."""
    joules, grams = dict(totals.groups), dict(totals.groups_gco2e)
    named = {values for _, _, values in joules}
    for r in done:
        said = dict(r.group)
        values = tuple(said.get(name, "")[:MAX_VALUE] for name in totals.group_by)
        if values not in named and len(named) >= max_groups:
            values = (OTHER,) * len(totals.group_by)
        named.add(values)
        key = (r.engine, r.model, values)
        joules[key] = joules.get(key, 0.0) + r.energy_j
        if r.gco2e is not None:
            grams[key] = grams.get(key, 0.0) + r.gco2e
    return joules, grams
