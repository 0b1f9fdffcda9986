"""Numbers as Grafana writes them with a unit."""

from __future__ import annotations

import math
from datetime import UTC, datetime

_SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"))
_SCALED = {"watt": "W", "joule": "J"}
_PLAIN = {"kwatth": " kWh", "litre": " L", "litreh": " L/h", "none": "", "short": ""}


def shown(value: float, unit: str, decimals: int | None = None) -> str:
    """The value with its unit. Errors: KeyError for a unit that no panel has had so far."""
    if unit in _SCALED:
        return _scaled(value, _SCALED[unit], decimals)
    if unit.startswith("si:"):
        return _scaled(value, unit.removeprefix("si:"), decimals, smallest=1.0)
    if unit == "short":
        return _scaled(value, "", decimals, smallest=1.0).replace(" ", "")
    if unit.startswith("suffix:"):
        return f"{_number(value, decimals)} {unit.removeprefix('suffix:')}"
    if unit == "percentunit":
        return f"{_number(100 * value, 0 if decimals is None and abs(value) >= 0.1 else decimals)}%"
    if unit == "bytes":
        return f"{_number(value / 2**20, 1)} MiB"
    if unit == "s":
        return _duration(value)
    if unit == "sci":
        return f"{value:.0e}" if value else "0"
    if unit == "dateTimeAsIso":
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%a %d %b %H:%M")
    return _number(value, decimals) + _PLAIN[unit]


def _scaled(value: float, unit: str, decimals: int | None, smallest: float = 1e-6) -> str:
    size, prefix = next(
        (s for s in _SI if abs(value) >= s[0] >= smallest), (1.0, "") if abs(value) < smallest or not value else _SI[-1]
    )
    return f"{_number(value / size, decimals)} {prefix}{unit}".rstrip()


def _number(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    if value == 0:
        return "0"
    digits = max(0, min(6, 2 - math.floor(math.log10(abs(value)))))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _duration(seconds: float) -> str:
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if abs(seconds) >= size:
            return f"{_number(round(seconds / size, 1), None)} {name}"
    return f"{_number(seconds, None)} s"
