"""Families that dashboards and rules already ask for and the agent does not serve yet, as it will write them."""

from __future__ import annotations

from exporters.families import FAMILIES

_CHAT = 'engine="vllm-a",model="meta-llama/Llama-3.1-8B-Instruct"'
_MONTH = 'budget="month"'

# name -> (labels, value at first, growth with each scrape) of each series
PROMISED: dict[str, tuple[tuple[str, float, float], ...]] = {
    "joulecar_emissions_gco2e_total": ((f'{_CHAT},scope="embodied"', 3.0, 0.1),),
    "joulecar_emissions_settlement_gco2e": ((_CHAT, -0.5, 0.01),),
    "joulecar_emissions_market_based_gco2e_total": ((_CHAT, 5.0, 0.2),),
    "joulecar_emissions_marginal_gco2e_total": ((_CHAT, 9.0, 0.3),),
    "joulecar_energy_unpriced_joules_total": (("", 0.0, 0.0),),
    "joulecar_sci_gco2e_per_1k_tokens": ((f'{_CHAT},window="5m",tokens="generated"', 0.06, 0.0),),
    "joulecar_energy_uncosted_joules_total": (("", 0.0, 0.0),),
    "joulecar_grid_marginal_intensity_gco2e_per_kwh": (('zone="DE"', 520.0, 0.0),),
    "joulecar_grid_intensity_info": (
        ('zone="DE",provider="watttime",basis="direct",kind="actual",signal="marginal"', 1.0, 0.0),
    ),
    "joulecar_water_liters_total": ((_CHAT, 0.2, 0.01),),
    "joulecar_energy_cost_total": ((f'{_CHAT},currency="EUR"', 0.3, 0.02),),
    "joulecar_energy_credit_total": ((f'{_CHAT},currency="EUR"', 0.01, 0.0),),
    "joulecar_energy_price_per_kwh": (('currency="EUR",provider="energy_charts",kind="day_ahead"', 0.21, 0.0),),
    "joulecar_cost_per_1k_tokens": ((f'{_CHAT},window="5m",tokens="generated",currency="EUR"', 2e-4, 0.0),),
    "joulecar_grid_loss_ratio": (("", 1.05, 0.0),),
    "joulecar_grid_zone_info": (('zone="DE",found="config"', 1.0, 0.0),),
    "joulecar_budget_limit": ((f'{_MONTH},unit="kgCO2e"', 20.0, 0.0),),
    "joulecar_budget_used": ((f'{_MONTH},unit="kgCO2e"', 11.0, 0.01),),
    "joulecar_budget_used_ratio": ((_MONTH, 0.55, 0.001),),
    "joulecar_budget_burn_rate": tuple((f'{_MONTH},window="{window}"', 1.1, 0.0) for window in ("1h", "6h", "24h")),
    "joulecar_budget_exhausted_timestamp_seconds": ((_MONTH, 1.7913e9, 0.0),),
    "joulecar_budget_resets_timestamp_seconds": ((_MONTH, 1.7914e9, 0.0),),
}


def page(asked: int, served: str) -> str:
    """What the page `served` has not."""
    lines = []
    for name, samples in PROMISED.items():
        for labels, first, growth in samples:
            if not any(line.startswith(name) and labels.split(",")[-1] in line for line in served.splitlines()):
                lines.append(f"{name}{{{labels}}} {first + growth * asked}")
    return "".join(f"{line}\n" for line in lines)


def families() -> set[str]:
    return {family.name for family in FAMILIES} | PROMISED.keys()
