"""Which place a text means: FR, FRA and France are one zone; what no table knows is an error, never a guess.

Codes are ISO 3166: "FR", "US-CA", "CA-QC"; a price area is "DK-DK1", a cloud region "gcp:europe-west9". Two letters
alone are always a country: "CA" is Canada, "DE" Germany, "GA" Gabon. A state or a province is written with its
country or in full.
"""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from agent.errors import Unavailable
from agent.grids.regions import regions

MAX_ZONE_CHARS = 64
_NEAR = 4


class ZoneKind(StrEnum):
    COUNTRY = "country"
    SUBDIVISION = "subdivision"  # a US state, a Canadian province
    AREA = "area"  # a price area: a part of a country's grid with an intensity of its own
    CLOUD = "cloud"  # a cloud provider's region


@dataclass(frozen=True, slots=True)
class Zone:
    """A place with one carbon intensity. place is the country, state or province that a cloud region stands in, and
    the country of a price area."""

    code: str
    name: str
    kind: ZoneKind
    place: str

    def __str__(self) -> str:
        return f"{self.code} ({self.name})"


class UnknownZone(Unavailable):
    """No zone, or more than one, goes by that name. near: what may have been meant, best first."""

    def __init__(self, text: str, near: Iterable[Zone], why: str) -> None:
        self.near = tuple(near)
        named = ", ".join(map(str, self.near))
        fix = f"write one of {named}" if self.near else "write an ISO code such as FR, US-CA or CA-QC"
        super().__init__(f"{text[:MAX_ZONE_CHARS]!r} {why}", fix)


@dataclass(frozen=True, slots=True)
class _Index:
    zones: Mapping[str, Zone]  # by code
    spelt: Mapping[str, tuple[Zone, ...]]  # by every folded code and name


def resolve(text: str) -> Zone:
    """The zone that a code or a name means; case, accents, spaces and punctuation do not matter.

    Raises UnknownZone, which names near matches, for a text that means nothing or two things (Georgia).
    """
    text = text.strip()[: MAX_ZONE_CHARS + 1]
    index = _index()
    found = index.spelt.get(_code(text)) or index.spelt.get(_name(text)) or ()
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownZone(text, found, "means more than one zone")
    raise UnknownZone(text, _near(text, index), "is not a zone that Joulecar knows")


def zones() -> Mapping[str, Zone]:
    """Every zone by its code."""
    return _index().zones


def _near(text: str, index: _Index) -> tuple[Zone, ...]:
    """Same ending first ("TX" -> US-TX), then names that look alike."""
    code = _code(text)
    near = [zone for zone in index.zones.values() if code and zone.code.casefold().endswith(("-" + code, ":" + code))]
    for wanted in (code, _name(text)):
        for spelling in difflib.get_close_matches(wanted[:MAX_ZONE_CHARS], index.spelt, n=_NEAR, cutoff=0.7):
            near.extend(index.spelt[spelling])
    return tuple(dict.fromkeys(near))[:_NEAR]


def _code(text: str) -> str:
    return text.strip().casefold().replace("_", "-")


def _name(text: str) -> str:
    """Letters and digits alone, accents off, so that "Québec" is "quebec" and "Côte d'Ivoire" "cote d ivoire"."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return " ".join("".join(c if c.isalnum() else " " for c in plain).split())


@cache
def _index() -> _Index:
    data = json.loads(files("agent").joinpath("data/grid/zones.json").read_text("utf-8"))
    zones: dict[str, Zone] = {}
    spelt: defaultdict[str, list[Zone]] = defaultdict(list)

    def add(zone: Zone, other_codes: Iterable[str], names: Iterable[str]) -> None:
        zones[zone.code] = zone
        for code in map(_code, (zone.code, *other_codes)):
            spelt[code].append(zone)
        for name in dict.fromkeys(map(_name, names)):
            spelt[name].append(zone)

    for code, (alpha3, *names) in data["countries"].items():
        add(Zone(code, names[0], ZoneKind.COUNTRY, code), (alpha3,), names)
    for code, names in data["subdivisions"].items():
        add(Zone(code, names[0], ZoneKind.SUBDIVISION, code), (), names)
    for code, (place, *names) in data["areas"].items():
        add(Zone(code, names[0], ZoneKind.AREA, place), (), names)
    for code, region in regions().items():
        add(Zone(code, region.city, ZoneKind.CLOUD, region.zone), region.spellings, ())
    return _Index(MappingProxyType(zones), MappingProxyType({key: tuple(found) for key, found in spelt.items()}))
