"""Carbon intensities and prices as a trace has them, in both directions."""

from __future__ import annotations

import math
from typing import Any

from agent.fields import needed, number, text
from agent.model import EnergyPrice, GridIntensity


def grid_out(grid: GridIntensity) -> dict[str, object]:
    data: dict[str, object] = {"zone": grid.zone, "g_per_kwh": grid.g_per_kwh, "provider": grid.provider}
    data |= {"signal": grid.signal, "basis": grid.basis, "kind": grid.kind}
    return data | _times_out(grid)


def grid_in(data: dict[str, Any], i: int) -> GridIntensity:
    where = f"grid[{i}]."
    valid_from_s, valid_to_s = _validity(data, where)
    return GridIntensity(
        zone=text(data, "zone", where),
        g_per_kwh=needed(data, "g_per_kwh", where, low=0.0),
        provider=text(data, "provider", where, default="trace"),
        signal=text(data, "signal", where, default="average"),
        basis=text(data, "basis", where, default="lifecycle"),
        kind=text(data, "kind", where, default="actual"),
        valid_from_s=valid_from_s,
        valid_to_s=valid_to_s,
        fetched_at_s=number(data, "fetched_at_s", where),
        source=text(data, "source", where, default=""),
    )


def price_out(price: EnergyPrice) -> dict[str, object]:
    data: dict[str, object] = {"zone": price.zone, "per_kwh": price.per_kwh, "currency": price.currency}
    data |= {"provider": price.provider, "kind": price.kind}
    return data | _times_out(price)


def price_in(data: dict[str, Any], i: int) -> EnergyPrice:
    where = f"prices[{i}]."
    valid_from_s, valid_to_s = _validity(data, where)
    return EnergyPrice(
        zone=text(data, "zone", where, default=""),
        per_kwh=needed(data, "per_kwh", where),
        currency=text(data, "currency", where),
        provider=text(data, "provider", where, default="trace"),
        kind=text(data, "kind", where, default="day_ahead"),
        valid_from_s=valid_from_s,
        valid_to_s=valid_to_s,
        fetched_at_s=number(data, "fetched_at_s", where),
        source=text(data, "source", where, default=""),
    )


def _times_out(entry: GridIntensity | EnergyPrice) -> dict[str, object]:
    data: dict[str, object] = {}
    for key in ("valid_from_s", "valid_to_s", "fetched_at_s"):
        value = getattr(entry, key)
        if value is not None and math.isfinite(value):
            data[key] = value
    if entry.source:
        data["source"] = entry.source
    return data


def _validity(data: dict[str, Any], where: str) -> tuple[float, float]:
    begin_s, end_s = number(data, "valid_from_s", where), number(data, "valid_to_s", where)
    return -math.inf if begin_s is None else begin_s, math.inf if end_s is None else end_s
