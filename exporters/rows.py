"""Snapshot to rows: one pure function per metric family. None means not known, and becomes no sample."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import attrgetter

from agent.model import Headline, Histogram, Snapshot, Use
from agent.units import label_name
from exporters import build

Row = tuple[tuple[str, ...], float | None]  # label values in the order of Family.labels, and the value
Rows = Callable[[Snapshot], Iterable[Row]]
Histograms = Callable[[Snapshot], Iterable[tuple[tuple[str, ...], Histogram]]]


def no_rows(_: Snapshot) -> tuple[Row, ...]:
    return ()


def no_histograms(_: Snapshot) -> tuple[tuple[tuple[str, ...], Histogram], ...]:
    return ()


def no_labels(_: Snapshot) -> tuple[str, ...]:
    return ()


def device_info(s: Snapshot) -> Iterator[Row]:
    for d in s.devices:
        index = "" if d.index is None else str(d.index)
        yield (d.device.key, d.device.kind, d.name, index, d.method), 1.0


def device_energy(s: Snapshot) -> Iterator[Row]:
    for device, energy_j in s.ledger.device_energy_j.items():
        yield (device.key, device.kind), energy_j


def device_power(s: Snapshot) -> Iterator[Row]:
    for d in s.devices:
        yield (d.device.key, d.device.kind), d.power_w


def device_gap(s: Snapshot) -> Iterator[Row]:
    for (device, reason), gap_s in s.ledger.gap_s.items():
        yield (device.key, device.kind, reason), gap_s


def counter_to_power_ratio(s: Snapshot) -> Iterator[Row]:
    for d in s.devices:
        yield (d.device.key,), d.counter_to_power_ratio


def energy(s: Snapshot) -> Iterator[Row]:
    yield from s.ledger.energy_j.items()


def energy_pending(s: Snapshot) -> Iterator[Row]:
    for kind, energy_j in s.pending_j.items():
        yield (kind,), energy_j


def tokens(s: Snapshot) -> Iterator[Row]:
    yield from s.ledger.tokens.items()


def requests(s: Snapshot) -> Iterator[Row]:
    yield from s.ledger.requests.items()


def headline(field: str) -> Rows:
    """One ratio of every headline."""
    ratio: Callable[[Headline], float | None] = attrgetter(field)

    def rows(s: Snapshot) -> Iterator[Row]:
        for h in s.headlines:
            yield (h.engine, h.model, h.window, h.boundary), ratio(h)

    return rows


def headline_by_tokens(generated: str, everything: str) -> Rows:
    """A ratio that is told per generated token and per token of any type."""
    ratios: tuple[tuple[str, Callable[[Headline], float | None]], ...] = (
        ("generated", attrgetter(generated)),
        ("all", attrgetter(everything)),
    )

    def rows(s: Snapshot) -> Iterator[Row]:
        for h in s.headlines:
            for name, ratio in ratios:
                yield (h.engine, h.model, h.window, name, h.boundary), ratio(h)

    return rows


def emissions(s: Snapshot) -> Iterator[Row]:
    for scope, amounts in (("operational", s.ledger.facility_gco2e), ("embodied", s.ledger.embodied_gco2e)):
        for (engine, model), gco2e in _by_model(amounts).items():
            yield (engine, model, scope), gco2e


def by_model(total: str) -> Rows:
    """A total of the ledger, over all uses."""

    def rows(s: Snapshot) -> Iterator[Row]:
        yield from _by_model(getattr(s.ledger, total)).items()

    return rows


def money(total: str) -> Rows:
    """A total in the price's currency."""

    def rows(s: Snapshot) -> Iterator[Row]:
        for (engine, model), amount in _by_model(getattr(s.ledger, total)).items():
            yield (engine, model, s.currency), amount

    return rows


def _by_model(amounts: Mapping[tuple[str, str, Use], float]) -> dict[tuple[str, str], float]:
    out: dict[tuple[str, str], float] = defaultdict(float)
    for (engine, model, _use), amount in amounts.items():
        out[engine, model] += amount
    return out


def settlement(s: Snapshot) -> Iterator[Row]:
    yield from s.settlement_gco2e.items()


def unpriced(s: Snapshot) -> Iterator[Row]:
    yield (), s.ledger.unpriced_j


def uncosted(s: Snapshot) -> Iterator[Row]:
    yield (), s.ledger.uncosted_j if s.currency else None


def sci(s: Snapshot) -> Iterator[Row]:
    for h in s.headlines:
        for name, ratio in (("generated", h.sci_per_1k_generated), ("all", h.sci_per_1k_all)):
            yield (h.engine, h.model, h.window, name), ratio


def cost_per_1k(s: Snapshot) -> Iterator[Row]:
    for h in s.headlines:
        for name, ratio in (("generated", h.cost_per_1k_generated), ("all", h.cost_per_1k_all)):
            yield (h.engine, h.model, h.window, name, s.currency), ratio


def price(s: Snapshot) -> Iterator[Row]:
    if s.price is not None:
        yield (s.price.currency, s.price.zone, s.price.provider, s.price.kind), s.price.per_kwh


def marginal_intensity(s: Snapshot) -> Iterator[Row]:
    if s.marginal is not None:
        yield (s.marginal.zone,), s.marginal.g_per_kwh


def grid_loss(s: Snapshot) -> Iterator[Row]:
    yield (), s.grid_loss


def market_factor(s: Snapshot) -> Iterator[Row]:
    yield (), s.market_g_per_kwh


def embodied_unknown(s: Snapshot) -> Iterator[Row]:
    for name in s.embodied_unknown:
        yield (name,), 1.0


def zone_info(s: Snapshot) -> Iterator[Row]:
    if s.located is not None:
        yield (s.located.zone, s.located.found), 1.0


def budget_limit(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        yield (b.name, b.unit), b.limit


def budget_used(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        yield (b.name, b.unit), b.used


def budget_ratio(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        yield (b.name,), b.used_ratio


def budget_burn(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        for window, rate in b.burn_rates.items():
            yield (b.name, window), rate


def budget_exhausted(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        yield (b.name,), b.exhausted_at_s


def budget_resets(s: Snapshot) -> Iterator[Row]:
    for b in s.budgets:
        yield (b.name,), b.resets_at_s


def grid_intensity(s: Snapshot) -> Iterator[Row]:
    if s.grid is not None:
        yield (s.grid.zone,), s.grid.g_per_kwh


def grid_info(s: Snapshot) -> Iterator[Row]:
    for g in (s.grid, s.marginal):
        if g is not None:
            yield (g.zone, g.provider, g.signal, g.basis, g.kind), 1.0


def grid_age(s: Snapshot) -> Iterator[Row]:
    if s.grid is not None and s.grid.fetched_at_s is not None:
        yield (s.grid.zone,), max(0.0, s.at.wall_s - s.grid.fetched_at_s)


def pue(s: Snapshot) -> Iterator[Row]:
    yield (), s.pue


def node_overhead(s: Snapshot) -> Iterator[Row]:
    yield (), s.node_overhead_w


def prefill_weight(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        yield (e.engine,), e.prefill_weight


def weight_confidence(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        yield (e.engine,), e.weight_confidence


def weight_residual(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        yield (e.engine,), e.weight_residual


def engine_info(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        yield (e.engine, e.kind, e.version), 1.0


def engine_sharing(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        for by in e.shared_by:
            yield (e.engine, by), 1.0


def engine_sample_age(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        yield (e.engine,), e.sample_age_s


def part_up(s: Snapshot) -> Iterator[Row]:
    for p in s.parts:
        yield (p.part, p.name), float(p.up)


def part_errors(s: Snapshot) -> Iterator[Row]:
    for p in s.parts:
        yield (p.part, p.name), float(p.errors_total)


def refused_payloads(s: Snapshot) -> Iterator[Row]:
    for key, n in s.refused_payloads.items():
        yield key, float(n)


def part_last_success(s: Snapshot) -> Iterator[Row]:
    for p in s.parts:
        yield (p.part, p.name), p.last_success_s


def self_energy(s: Snapshot) -> Iterator[Row]:
    yield (), s.self_energy_j


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


def build_info(_: Snapshot) -> Iterator[Row]:
    yield (build.version(), build.python()), 1.0
