"""The table of cloud regions: which zone each stands in, where that is, and who says so.

Ours, since the public tables disagree: of 85 regions that two of them share, nine never agree. Each row names its city,
whose coordinates a test holds against the borders of the zone. What is not in the table is not guessed: a region that
a provider opened yesterday is unknown until it has a row.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

# Of these a region's own name is enough: no two of them write one alike (us-west1, us-west-1, westus). OVHcloud's are
# three letters, which mean other things as well, and are written ovh:gra.
_ALONE = frozenset(("aws", "azure", "gcp", "scaleway"))


@dataclass(frozen=True, slots=True)
class Region:
    """A cloud provider's region. zone is the country, state or province; latitude and longitude are the city's, in
    degrees, north and east."""

    provider: str
    name: str
    zone: str
    city: str
    latitude: float
    longitude: float
    source: str

    @property
    def code(self) -> str:
        """As a zone is written: "aws:eu-west-3"."""
        return f"{self.provider}:{self.name}"

    @property
    def spellings(self) -> tuple[str, ...]:
        """Other texts that mean this region."""
        return (self.name,) if self.provider in _ALONE else ()


@cache
def regions() -> Mapping[str, Region]:
    """Every region by its code."""
    text = files("agent").joinpath("data/grid/regions.csv").read_text("utf-8")
    found = (
        Region(
            row["provider"],
            row["region"],
            row["zone"],
            row["city"],
            float(row["latitude"]),
            float(row["longitude"]),
            row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    )
    return MappingProxyType({region.code: region for region in found})


def region(provider: str, text: str) -> Region | None:
    """The provider's region of that name, as its metadata or an environment variable writes it; Azure's own names with
    spaces ("West Europe") are taken, too. None: not in the table, so not to be trusted."""
    name = text.strip().casefold()
    if provider == "azure":
        name = name.replace(" ", "")
    return regions().get(f"{provider}:{name}")
