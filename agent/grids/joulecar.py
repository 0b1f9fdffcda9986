"""From another agent: one asks the provider, all others ask the one. A thousand agents are one user of a public source.

GET {base_url}/grid.json answers 200 and an object with one list:

    {"intensities": [{"zone": "DK-DK1", "g_per_kwh": 75.0, "provider": "energinet", "signal": "average",
                      "basis": "direct", "kind": "actual", "valid_from_s": 1790000000.0, "valid_to_s": 1790000300.0,
                      "fetched_at_s": 1790000290.0, "source": "CO2Emis DK1, Energinet; CC BY 4.0"}]}

Every field of agent.model.GridIntensity, each with its unit: intensities in g/kWh, times in Unix seconds. null in
valid_from_s or valid_to_s is an open end, null in fetched_at_s a constant that was never fetched. The list is what the
agent knows of its one zone, in any order, what is past (two days at most) and what is forecast; it is empty, and the
status still 200, as long as it knows nothing. Keys that are not named here are for later and ignored. The answer has
an ETag, and who asks with If-None-Match gets 304 until the agent knows something else.

An intensity keeps the name of the provider that it came from and the time at which that one was asked, so passing it
on makes it neither fresher nor better.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agent.errors import Unavailable
from agent.grids.http import Asking, Http
from agent.grids.payload import Why, bad, entry, g_per_kwh, number, read_json, shown
from agent.grids.series import same
from agent.grids.zones import resolve
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "joulecar"
LICENCE = "that of the provider which the other agent asks"
EVERY_S = 60.0
PATH = "/grid.json"

FINAL_S = 48 * 3600.0  # no provider rewrites an hour later than that, but for EIA

_MAX_ENTRIES = 10_000  # a fortnight of five-minute values is 4,000
_MAX_SOURCE_CHARS = 200
_CLOCKS_DIFFER_S = 900.0
_LABEL = re.compile(r"[a-z][a-z0-9_]{0,39}")  # becomes a label's value, so it is bounded
_SIGNALS = ("average", "marginal")
_BASES = ("lifecycle", "direct")


def covers(zone: str) -> str | None:
    """Every zone: which one the other agent has is known when it answers."""
    try:
        return resolve(zone).code
    except Unavailable:
        return None


def shared(known: Iterable[GridIntensity], final: Iterable[GridIntensity], now_s: float) -> tuple[GridIntensity, ...]:
    """What an agent passes on: all that it prices with now, and what it was told last of the two days before, so that
    others settle their books as it does. A statement that is in both is in it once."""
    recent = (entry for entry in final if entry.valid_to_s > now_s - FINAL_S)
    return tuple(dict.fromkeys((*known, *recent)))


def encode(intensities: Iterable[GridIntensity]) -> bytes:
    """The document of the endpoint."""
    return json.dumps({"intensities": [_to_json(entry) for entry in intensities]}, allow_nan=False).encode()


def decode(body: bytes, now_s: float, provider: str = NAME) -> tuple[GridIntensity, ...]:
    """What encode() wrote, checked. provider is who is named in errors. Raises ReadFailed for every fault."""
    found = entry(read_json(body, provider), "intensities", provider)
    if not isinstance(found, list):
        raise bad(provider, "intensities", f"is {shown(found)}, not a list")
    if len(found) > _MAX_ENTRIES:
        raise bad(provider, "intensities", f"has more than {_MAX_ENTRIES} entries", Why.TOO_LARGE)
    return tuple(_from_json(row, now_s, provider, f"intensities[{i}]") for i, row in enumerate(found))


def _to_json(intensity: GridIntensity) -> dict[str, Any]:
    return {
        "zone": intensity.zone,
        "g_per_kwh": intensity.g_per_kwh,
        "provider": intensity.provider,
        "signal": intensity.signal,
        "basis": intensity.basis,
        "kind": intensity.kind,
        "valid_from_s": _or_null(intensity.valid_from_s),
        "valid_to_s": _or_null(intensity.valid_to_s),
        "fetched_at_s": intensity.fetched_at_s,
        "source": intensity.source,
    }


def _from_json(row: Any, now_s: float, provider: str, where: str) -> GridIntensity:
    if not isinstance(row, Mapping):
        raise bad(provider, where, f"is {shown(row)}, not an object")
    from_s = _time_s(row, "valid_from_s", -math.inf, provider, where)
    to_s = _time_s(row, "valid_to_s", math.inf, provider, where)
    if not from_s < to_s:
        raise bad(provider, f"{where}.valid_to_s", "is not after valid_from_s", Why.OTHER_TIME)
    fetched_at_s = row.get("fetched_at_s")
    if fetched_at_s is not None:
        fetched_at_s = number(fetched_at_s, provider, f"{where}.fetched_at_s")
        if fetched_at_s > now_s + _CLOCKS_DIFFER_S:
            raise bad(provider, f"{where}.fetched_at_s", "lies in the future", Why.OTHER_TIME)
    return GridIntensity(
        zone=_label(row, "zone", provider, where, re.compile(r"[A-Za-z0-9:_-]{1,64}")),
        g_per_kwh=g_per_kwh(row.get("g_per_kwh"), provider, f"{where}.g_per_kwh"),
        provider=_label(row, "provider", provider, where),
        signal=_one_of(row, "signal", _SIGNALS, provider, where),
        basis=_one_of(row, "basis", _BASES, provider, where),
        kind=_label(row, "kind", provider, where),
        valid_from_s=from_s,
        valid_to_s=to_s,
        fetched_at_s=fetched_at_s,
        source=_source(row, provider, where),
    )


def _or_null(at_s: float) -> float | None:
    return at_s if math.isfinite(at_s) else None


def _time_s(row: Mapping[str, Any], key: str, open_end: float, provider: str, where: str) -> float:
    if key not in row:
        raise bad(provider, f"{where}.{key}", "is missing", Why.MISSING)
    return open_end if row[key] is None else number(row[key], provider, f"{where}.{key}")


def _label(row: Mapping[str, Any], key: str, provider: str, where: str, form: re.Pattern[str] = _LABEL) -> str:
    value = row.get(key)
    if not isinstance(value, str) or form.fullmatch(value) is None:
        raise bad(provider, f"{where}.{key}", f"is {shown(value)}")
    return value


def _one_of(row: Mapping[str, Any], key: str, allowed: Sequence[str], provider: str, where: str) -> str:
    value = row.get(key)
    if value not in allowed:
        raise bad(provider, f"{where}.{key}", f"is {shown(value)}, not {' or '.join(allowed)}", Why.OTHER_QUANTITY)
    return str(value)


def _source(row: Mapping[str, Any], provider: str, where: str) -> str:
    value = row.get("source", "")
    if not isinstance(value, str) or not value.isprintable():
        raise bad(provider, f"{where}.source", "is not a line of text")
    return value[:_MAX_SOURCE_CHARS]


class JoulecarProvider:
    """Asks [grid.joulecar] base_url, with its token (Bearer) or user and password (Basic) where the agent wants one."""

    name = NAME

    def __init__(self, settings: ProviderSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url, settings.timeout_s)

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        """All that the other agent knows, constants first. Raises ReadFailed for another zone, and for nothing yet."""
        code = resolve(zone).code
        if not self._settings.base_url:
            raise Unavailable(
                "joulecar has no address of another agent", 'set grid.joulecar.base_url = "http://HOST:9420"'
            )
        found = decode(self._server.body(PATH, headers=self._authorization()), now.wall_s)
        if not found:
            raise bad(NAME, "intensities", "is empty: the other agent knows no intensity yet", Why.EMPTY)
        for i, intensity in enumerate(found):
            same(intensity.zone, code, NAME, f"intensities[{i}].zone")
        return sorted(found, key=lambda intensity: intensity.valid_from_s)

    def _authorization(self) -> Mapping[str, str]:
        if self._settings.token is not None:
            return {"authorization": f"Bearer {self._settings.token.value}"}
        if self._settings.user and self._settings.password is not None:
            pair = f"{self._settings.user}:{self._settings.password.value}".encode()
            return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}
