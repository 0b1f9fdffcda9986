"""[site.embodied]: on or off, and the life of the hardware in seconds."""

from __future__ import annotations

from agent import config_model as model
from agent import config_types as types
from agent.config_rules import Report, check
from agent.embodied import S_PER_YEAR
from agent.settings import EmbodiedSettings

MIN_YEARS, MAX_YEARS = 0.5, 30.0


def embodied(raw: object, report: Report) -> EmbodiedSettings | None:
    """The settings of [site.embodied]; None: off."""
    table = check(model.Embodied, raw, "site.embodied", report)
    value = table.value
    years = types.years(value.lifetime)
    if years is None or not MIN_YEARS <= years <= MAX_YEARS:
        fault = f"is not {MIN_YEARS:g} to {MAX_YEARS:g} years"
        report.add(table.at("lifetime"), fault, "hardware is written off after 3 to 6 years")
        return None
    if not value.enabled:
        return None
    return EmbodiedSettings(years * S_PER_YEAR, value.gpu_kgco2e, value.server_kgco2e, value.reserved_share)
