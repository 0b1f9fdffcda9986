"""Units and their conversions, each written once."""

from __future__ import annotations

J_PER_KWH = 3_600_000.0
UJ_PER_J = 1_000_000.0
MJ_PER_J = 1_000.0  # millijoules: what NVML counts in
MW_PER_W = 1_000.0  # milliwatts: what NVML reports
UW_PER_W = 1_000_000.0


def kwh(energy_j: float) -> float:
    """Joules as kilowatt-hours."""
    return energy_j / J_PER_KWH
