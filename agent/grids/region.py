"""How a provider calls a zone of ours."""

from __future__ import annotations

from collections.abc import Mapping

from agent.errors import Unavailable
from agent.grids.zones import resolve


def region_of(zone: str, regions: Mapping[str, str]) -> str | None:
    """The provider's name of the zone itself, or of the place that a cloud region stands in.

    None: the zone is unknown, or the provider has no name for it.
    """
    try:
        where = resolve(zone)
    except Unavailable:
        return None
    return regions.get(where.code) or regions.get(where.place)


def claim(provider: str, zone: str, region: str | None) -> tuple[str, str]:
    """Our code of the zone and the provider's name of it.

    Raises Unavailable if the zone is unknown or the provider has no name for it, so that the next one gets its turn.
    """
    code = resolve(zone).code
    if not region:
        raise Unavailable(
            f"{provider} does not cover {code}",
            f"leave {provider} out of grid.providers, or set grid.{provider}.region",
        )
    return code, region
