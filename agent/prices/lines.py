"""What `joulecar check` says of prices: subject, whether all is well, what is known, the fix."""

from __future__ import annotations

from datetime import UTC, datetime

from agent.cost import in_force
from agent.errors import ReadFailed, Unavailable
from agent.model import Instant
from agent.prices.feed import PriceProvider, part_name
from agent.prices.table import constant, day_ahead
from agent.settings import PriceSettings

Line = tuple[str, bool, str, str]


def price_lines(settings: PriceSettings | None, provider: PriceProvider | None, now: Instant) -> list[Line]:
    """The configured price; nothing where none is. provider: asked once; None: only named. Never raises."""
    if (fixed := constant(settings)) is not None:
        return [("price", True, f"{fixed.per_kwh:g} {fixed.currency}/kWh at every hour; {fixed.source}", "")]
    kind = day_ahead(settings)
    if kind is None or settings is None:
        return []
    subject = part_name(kind.name)
    of = f"day-ahead price of {settings.zone} in {settings.currency}"
    licence = f"licence: {kind.licence}"
    if provider is None:
        return [(subject, True, f"{of}; {licence}", "")]
    try:
        told = provider.fetch(now)
    except Unavailable as e:
        return [(subject, False, f"{e.reason}; {licence}", e.fix)]
    except ReadFailed as e:
        return [(subject, False, f"{e.reason}; {licence}", "")]
    held = in_force(told, now.wall_s)
    if held is None:
        return [(subject, False, f"{of}: none of this hour among {len(told)}; {licence}", "")]
    until = datetime.fromtimestamp(max(e.valid_to_s for e in told), UTC)
    detail = f"{held.per_kwh:.4f} {held.currency}/kWh now, known until {until:%Y-%m-%d %H:%M} UTC; {held.source}"
    return [(subject, True, f"{detail}; {licence}", "")]
