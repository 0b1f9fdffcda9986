"""The intensity that the operator wrote down."""

from __future__ import annotations

from collections.abc import Sequence

from agent.errors import Unavailable
from agent.grids.zones import resolve
from agent.model import GridIntensity, Instant

NAME = "fixed"


class FixedProvider:
    """The same g_per_kwh for every zone and every moment. The zone is a label here, so any text will do."""

    def __init__(self, g_per_kwh: float) -> None:
        self._g_per_kwh = g_per_kwh

    @property
    def name(self) -> str:
        return NAME

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        return (
            GridIntensity(
                zone=_label(zone),
                g_per_kwh=self._g_per_kwh,
                provider=NAME,
                kind="fixed",
                source="the configuration, grid.fixed_g_per_kwh",
            ),
        )


def _label(zone: str) -> str:
    try:
        return resolve(zone).code
    except Unavailable:
        return zone.strip() or NAME
