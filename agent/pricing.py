"""From postings to entries: every joule that is booked, with the grams, litres and money that follow from it.

    overhead  watts of the node that no counter sees, in proportion to the joules
    facility  (energy + overhead) * PUE * grid loss: what intensities multiply
    location  facility at the grid's average intensity of that very time
    market    facility at the contract's own factor, never blended with the former
    marginal  facility at the marginal intensity: what one more kWh causes, which is no footprint
    water     (energy + overhead) * WUE
    money     (energy + overhead) * PUE at the price of that time; a negative price is a credit, since totals only grow

Each account stands alone: what one lacks (an hour without intensity, a price never told) is counted, and is never
filled from another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.carbon import Priced, in_force, price
from agent.cost import CostRate, price_per_joule
from agent.model import EnergyPrice, Entry, GridIntensity, Spent, Use
from agent.units import kwh

BUCKET_S = 300.0  # every grid's interval is a multiple of it, and so is every time zone's midnight

Owner = tuple[str, str, Use]
NOBODY: Owner = ("", "", Use.UNASSIGNED)


@dataclass(frozen=True, slots=True)
class Site:
    """What the building and the contract add. None: not configured, so there is no such account."""

    pue: float = 1.0
    node_overhead_w: float = 0.0
    grid_loss: float = 1.0  # energy fed into the grid for each that is delivered
    market_g_per_kwh: float | None = None
    wue_l_per_kwh: float | None = None
    currency: str = ""  # of the price; "": none is configured


@dataclass(frozen=True, slots=True)
class Tariffs:
    """What was told of the time around now: intensities by signal, prices."""

    average: tuple[GridIntensity, ...] = ()
    marginal: tuple[GridIntensity, ...] = ()
    prices: tuple[EnergyPrice, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a posting's time that lies in one bucket, and what a joule of it costs."""

    bucket_s: float
    part: float  # of the posting's joules
    average: Priced | None = None  # of one joule; None: nothing at all is known
    marginal: Priced | None = None
    cost: CostRate = field(default_factory=CostRate)
    zone: str = ""
    kind: str = ""


def tariffs(grid: Iterable[GridIntensity], prices: Sequence[EnergyPrice] = ()) -> Tariffs:
    """Average and marginal, which are never mixed."""
    known = tuple(grid)
    marginal = tuple(e for e in known if e.signal == "marginal")
    average = tuple(e for e in known if e.signal != "marginal") if marginal else known
    return Tariffs(average, marginal, tuple(prices))


def pieces(spent: Sequence[Spent], known: Tariffs, *, charged: bool) -> list[Piece]:
    """The time of a posting, cut at the bounds of buckets. The parts add up to 1. charged: energy has a price, be it
    known or not."""
    by_bucket: dict[float, list[Spent]] = {}
    for start_s, end_s, energy_j in spent:
        for piece in _cut(start_s, end_s, energy_j):
            by_bucket.setdefault(piece[0] // BUCKET_S * BUCKET_S, []).append(piece)
    total_j = sum(j for some in by_bucket.values() for _, _, j in some)
    if len(by_bucket) > 1:
        known = _of_the_time(known, min(s for s, _, _ in spent), max(e for _, e, _ in spent))
    return [_piece(bucket_s, some, total_j, known, charged=charged) for bucket_s, some in sorted(by_bucket.items())]


def _of_the_time(known: Tariffs, first_s: float, last_s: float) -> Tariffs:
    """Those alone that say something of that time: a long one is cut into many pieces."""

    def speaks(e: GridIntensity | EnergyPrice) -> bool:
        return e.valid_from_s <= last_s and e.valid_to_s > first_s

    return Tariffs(
        tuple(filter(speaks, known.average)), tuple(filter(speaks, known.marginal)), tuple(filter(speaks, known.prices))
    )


def _cut(start_s: float, end_s: float, energy_j: float) -> Iterable[Spent]:
    if start_s // BUCKET_S == end_s // BUCKET_S or not start_s < end_s:
        yield start_s, end_s, energy_j
        return
    begin_s = start_s
    while begin_s < end_s:
        stop_s = min((begin_s // BUCKET_S + 1) * BUCKET_S, end_s)
        yield begin_s, stop_s, energy_j * ((stop_s - begin_s) / (end_s - start_s))
        begin_s = stop_s


def _piece(bucket_s: float, spent: Sequence[Spent], total_j: float, known: Tariffs, *, charged: bool) -> Piece:
    joules = sum(j for _, _, j in spent)
    held = in_force(known.average, spent[0][0])
    return Piece(
        bucket_s,
        joules / total_j,
        _per_joule(spent, known.average),
        _per_joule(spent, known.marginal),
        price_per_joule(spent, known.prices) if charged else CostRate(),
        held.zone if held else "",
        held.kind if held else "",
    )


def _per_joule(spent: Sequence[Spent], timeline: Sequence[GridIntensity]) -> Priced | None:
    """Grams of one joule that flowed as told; None where no intensity is known of any time."""
    if not timeline:
        return None
    first_s, last_s = min(s for s, _, _ in spent), max(e for _, e, _ in spent)
    if not any(first_s < t < last_s for e in timeline for t in (e.valid_from_s, e.valid_to_s)):
        return price(1.0, first_s, last_s, timeline)
    total_j = sum(j for _, _, j in spent)
    priced = [price(j, s, e, timeline) for s, e, j in spent]
    return Priced(sum(p.gco2e for p in priced) / total_j, sum(p.unpriced_j for p in priced) / total_j)


@dataclass(slots=True)
class _Sum:
    """What one owner used in one bucket, while it is added up."""

    energy_j: float = 0.0
    overhead_j: float = 0.0
    average_g: float = 0.0
    it_average_g: float = 0.0
    marginal_g: float = 0.0
    charge: float = 0.0
    credit: float = 0.0
    unpriced_j: float = 0.0
    uncosted_j: float = 0.0


@dataclass(slots=True)
class Tally:
    """Entries in the making: one for each owner, bucket and grid. Filled by one close of the books, then read."""

    site: Site
    known: Tariffs
    _sums: dict[tuple[float, Owner, str, str], _Sum] = field(default_factory=dict)

    @property
    def _charged(self) -> bool:
        return bool(self.site.currency or self.known.prices)

    def add(
        self, spent: Sequence[Spent], shares: Iterable[tuple[Owner, float]], overhead_j: float, of_j: float
    ) -> None:
        """Joules of one posting, each with its part of the overhead of all joules (of_j) that are posted now."""
        cut = pieces(spent, self.known, charged=self._charged)
        for owner, energy_j in shares:
            # Divided first: joules may be so few that the overhead of each is beyond any number.
            own_j = overhead_j * (energy_j / of_j) if of_j > 0 else 0.0
            for p in cut:
                self._add(owner, p, energy_j * p.part, own_j * p.part)

    def add_overhead(self, spent: Sequence[Spent], owner: Owner, overhead_j: float) -> None:
        """Overhead of a time in which no counter told any joule."""
        for p in pieces(spent, self.known, charged=self._charged):
            self._add(owner, p, 0.0, overhead_j * p.part)

    def _add(self, owner: Owner, p: Piece, energy_j: float, overhead_j: float) -> None:
        s = self._sums.setdefault((p.bucket_s, owner, p.zone, p.kind), _Sum())
        it_j = energy_j + overhead_j
        s.energy_j += energy_j
        s.overhead_j += overhead_j
        if p.average is not None:
            s.it_average_g += energy_j * p.average.gco2e
            s.average_g += it_j * p.average.gco2e
        s.unpriced_j += it_j * (1.0 if p.average is None else p.average.unpriced_j)
        if p.marginal is not None:
            s.marginal_g += it_j * p.marginal.gco2e
        s.charge += it_j * p.cost.charge_per_j
        s.credit += it_j * p.cost.credit_per_j
        s.uncosted_j += it_j * p.cost.uncosted

    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entry(*key, s) for key, s in self._sums.items())

    def _entry(self, bucket_s: float, owner: Owner, zone: str, kind: str, s: _Sum) -> Entry:
        site, known = self.site, self.known
        it_j = s.energy_j + s.overhead_j
        factor = site.pue * site.grid_loss
        market, wue = site.market_g_per_kwh, site.wue_l_per_kwh
        return Entry(
            bucket_s,
            *owner,
            zone=zone,
            kind=kind,
            energy_j=s.energy_j,
            overhead_j=s.overhead_j,
            facility_j=it_j * factor,
            it_gco2e=s.it_average_g if known.average else None,
            gco2e=s.average_g * factor if known.average else None,
            market_gco2e=None if market is None else kwh(it_j * factor) * market,
            marginal_gco2e=s.marginal_g * factor if known.marginal else None,
            water_l=None if wue is None else kwh(it_j) * wue,
            cost=s.charge * site.pue if self._charged else None,
            credit=s.credit * site.pue if self._charged else None,
            unpriced_j=s.unpriced_j,
            uncosted_j=s.uncosted_j,
        )


def with_embodied(entries: Sequence[Entry], grams: Mapping[Owner, float], bucket_s: float) -> tuple[Entry, ...]:
    """The entries, and the grams of making the hardware on the first one of each owner (a new one for who has none)."""
    left = {owner: g for owner, g in grams.items() if g > 0}
    out = []
    for e in entries:
        g = left.pop((e.engine, e.model, e.use), None)
        out.append(e if g is None else replace(e, embodied_gco2e=g))
    out.extend(Entry(bucket_s, *owner, embodied_gco2e=g) for owner, g in left.items())
    return tuple(out)
