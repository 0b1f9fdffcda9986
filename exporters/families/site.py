"""SCI, water and money."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model import Snapshot
from exporters.families.by_model import by_model, over_uses
from exporters.family import ENGINE_MODEL, Family, Row, Rows, Theme


def money(total: str) -> Rows:
    """A total in the price's currency."""

    def rows(s: Snapshot) -> Iterator[Row]:
        for (engine, model), amount in over_uses(getattr(s.ledger, total)).items():
            yield (engine, model, s.currency), amount

    return rows


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


def embodied_unknown(s: Snapshot) -> Iterator[Row]:
    for name in s.embodied_unknown:
        yield (name,), 1.0


SITE = Theme(
    "SCI, water and money",
    (
        Family(
            "joulecar_sci_gco2e_per_1k_tokens",
            "gauge",
            "gCO2e per 1,000 tokens",
            (*ENGINE_MODEL, "window", "tokens"),
            "Software Carbon Intensity for 1,000 tokens, over a window: operational and embodied grams.",
            sci,
            "(O + M) / R of ISO/IEC 21031, boundary `facility`. Absent unless `site.embodied` is on and an intensity "
            "is known.",
        ),
        Family(
            "joulecar_embodied_unknown_info",
            "gauge",
            "always 1",
            ("name",),
            "Hardware whose embodied carbon is in no grams, since nobody has published it.",
            embodied_unknown,
            "Set `site.embodied.gpu_kgco2e` or `server_kgco2e`.",
        ),
        Family(
            "joulecar_water_liters_total",
            "counter",
            "litres",
            ENGINE_MODEL,
            "Water that the site used for this energy, node overhead included.",
            by_model("water_l"),
            "Energy times `site.wue_l_per_kwh`; absent unless that is set.",
        ),
        Family(
            "joulecar_energy_cost_total",
            "counter",
            "currency",
            (*ENGINE_MODEL, "currency"),
            "What the energy cost, node overhead and PUE included, at the price of that very time.",
            money("cost"),
            "Absent unless `site.price` is set.",
        ),
        Family(
            "joulecar_energy_credit_total",
            "counter",
            "currency",
            (*ENGINE_MODEL, "currency"),
            "What was earned by energy in hours of a negative price.",
            money("credit"),
            "Cost less credit is the bill: two counters, since a counter must not fall.",
        ),
        Family(
            "joulecar_energy_uncosted_joules_total",
            "counter",
            "joules",
            (),
            "Energy, node overhead included, of times whose price nobody told: it is in no cost.",
            uncosted,
        ),
        Family(
            "joulecar_cost_per_1k_tokens",
            "gauge",
            "currency per 1,000 tokens",
            (*ENGINE_MODEL, "window", "tokens", "currency"),
            "Cost less credit for 1,000 tokens, over a window; boundary `facility`.",
            cost_per_1k,
        ),
        Family(
            "joulecar_energy_price_per_kwh",
            "gauge",
            "currency per kWh",
            ("currency", "zone", "provider", "kind"),
            "Price of a kilowatt-hour in force now.",
            price,
        ),
    ),
)
