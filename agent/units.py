"""Units and their conversions, each written once."""

from __future__ import annotations

import re

J_PER_KWH = 3_600_000.0
UJ_PER_J = 1_000_000.0
MJ_PER_J = 1_000.0  # millijoules: what NVML counts in
MW_PER_W = 1_000.0  # milliwatts: what NVML reports
UW_PER_W = 1_000_000.0


def kwh(energy_j: float) -> float:
    """Joules as kilowatt-hours."""
    return energy_j / J_PER_KWH


AMOUNTS = {  # a unit as people write it -> what it measures, the base unit, and how much of that one of it is
    "J": ("energy", "joules", 1.0),
    "kJ": ("energy", "joules", 1e3),
    "MJ": ("energy", "joules", 1e6),
    "GJ": ("energy", "joules", 1e9),
    "Wh": ("energy", "joules", 3.6e3),
    "kWh": ("energy", "joules", 3.6e6),
    "MWh": ("energy", "joules", 3.6e9),
    "GWh": ("energy", "joules", 3.6e12),
    "gCO2e": ("carbon", "gco2e", 1.0),
    "kgCO2e": ("carbon", "gco2e", 1e3),
    "tCO2e": ("carbon", "gco2e", 1e6),
    "L": ("water", "liters", 1.0),
    "l": ("water", "liters", 1.0),
    "litres": ("water", "liters", 1.0),
    "liters": ("water", "liters", 1.0),
    "m3": ("water", "liters", 1e3),
}


def label_name(attribute: str) -> str:
    """The label that a span's attribute becomes: tenant.id is tenant_id."""
    label = re.sub(r"[^a-zA-Z0-9_]", "_", attribute)
    return label if label and not label[0].isdigit() and not label.startswith("__") else f"attribute_{label}"
