"""Most of the world, from Electricity Maps: hourly averages of consumption, flow-traced, by CO2 equivalents over life.

API v4, and v3 if base_url ends in it. What is particular about it:

    latest      is mostly an estimate of the hour that runs, or of one that has not begun: isEstimated says so
    history     is the last 24 hours. An hour is final about two hours after it begins, and is rewritten up to 20 hours
                later all the same, so history is asked for every hour and whoever settles the books takes it from here
    forecast    of three days, if the plan has it; every hour, too
    createdAt   is when the row was first forecast, up to three days before: says nothing of freshness, is not read
    401         is a wrong key or a zone or endpoint that the plan lacks: the body says which
    no zone     means the zone of the caller's address, unless disableCallerLookup=true: sent, and the zone that comes
                back is compared with the one that was asked for

Limit: 150 requests a minute; this makes six an hour.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.grids.http import Answer, Asking, Http, refused
from agent.grids.payload import Why, bad, entry, g_per_kwh, read_json, rows, shown, utc_s
from agent.grids.region import claim
from agent.grids.series import in_order
from agent.grids.zones import ZoneKind, resolve
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "electricity_maps"
LICENCE = "Source: ElectricityMaps.com; a free key is for personal and academic use, no commercial one"
EVERY_S = 900.0
BASE_URL = "https://api.electricitymaps.com/v4"
BASIS = "lifecycle"
HORIZON_H = "72"

_ROWS_EVERY_S = 3600.0 - EVERY_S / 2  # an hour, to the nearest time that latest is asked for
_PLAN_AGAIN_S = 86_400.0  # what the plan lacks is asked for once a day
_STEPS_S: Mapping[str, float] = MappingProxyType({"hourly": 3600.0, "15_minutes": 900.0, "5_minutes": 300.0})

# Its zones are countries, states of federations where they are grids of their own, and, in the United States, grid
# operators: the one that serves most of a state. Canada's provinces are called as here, but for divided Newfoundland.
_US: Mapping[str, str] = MappingProxyType(
    {"US-CA": "US-CAL-CISO", "US-TX": "US-TEX-ERCO", "US-NY": "US-NY-NYIS"}
    | dict.fromkeys(("US-CT", "US-MA", "US-ME", "US-NH", "US-RI", "US-VT"), "US-NE-ISNE")
)
_CLOUDS = ("aws:", "azure:", "gcp:")  # it knows OVHcloud's data centres as well, by names that are not ours
_UNLIKE = frozenset(("CA-NL",))


def covers(zone: str) -> str | None:
    """Its name of the zone: "FR", "US-CAL-CISO"; for a cloud region that it knows itself, "gcp:europe-west1"."""
    try:
        where = resolve(zone)
    except Unavailable:
        return None
    if where.kind is ZoneKind.CLOUD and not where.code.startswith(_CLOUDS):
        return covers(where.place)
    if where.code.startswith("US-"):
        return _US.get(where.code)
    return None if where.code in _UNLIKE else where.code


def parse_latest(body: bytes, zone: str, region: str, now_s: float) -> tuple[GridIntensity, ...]:
    """The one interval of an answer to latest. Raises ReadFailed for every fault of it."""
    data = read_json(body, NAME)
    _same_zone(data, zone, region)
    return in_order([_intensity(data, data, zone, now_s, "", forecast=False)], NAME, "latest", now_s)


def parse_rows(
    body: bytes, zone: str, region: str, now_s: float, *, forecast: bool = False
) -> tuple[GridIntensity, ...]:
    """The intervals of an answer to history or forecast, oldest first; one whose value is null is left out. Raises
    ReadFailed for every other fault."""
    data = read_json(body, NAME)
    _same_zone(data, zone, region)
    field = next((key for key in ("history", "forecast", "data") if key in data), "history")
    found: list[GridIntensity] = []
    for i, row in enumerate(rows(entry(data, field, NAME), NAME, field)):
        where = f"{field}[{i}]."
        if entry(row, "carbonIntensity", NAME) is None:
            continue
        if "zone" in row:
            _same_zone(row, zone, region)
        found.append(_intensity(row, data, zone, now_s, where, forecast=forecast))
    return in_order(found, NAME, field, now_s)


def _intensity(
    row: Mapping[str, Any], data: Mapping[str, Any], zone: str, now_s: float, where: str, *, forecast: bool
) -> GridIntensity:
    """What is not in the row holds for the whole answer."""
    start_s = utc_s(entry(row, "datetime", NAME), NAME, f"{where}datetime")
    granularity = row.get("temporalGranularity", data.get("temporalGranularity", "hourly"))
    if not isinstance(granularity, str) or granularity not in _STEPS_S:
        raise bad(
            NAME, f"{where}temporalGranularity", f"is {shown(granularity)}, not an hour or less", Why.OTHER_QUANTITY
        )
    basis = row.get("emissionFactorType", data.get("emissionFactorType", BASIS))
    if basis != BASIS:
        raise bad(NAME, f"{where}emissionFactorType", f"is {shown(basis)}, not {BASIS!r}", Why.OTHER_QUANTITY)
    method = row.get("estimationMethod")
    kind = "forecast" if forecast else _kind(row.get("isEstimated"), method, start_s > now_s)
    said = f"{data['zone']}, {_plain(method)}" if kind == "estimated" and method is not None else data["zone"]
    return GridIntensity(
        zone=zone,
        g_per_kwh=g_per_kwh(entry(row, "carbonIntensity", NAME), NAME, f"{where}carbonIntensity"),
        provider=NAME,
        basis=BASIS,
        kind=kind,
        valid_from_s=start_s,
        valid_to_s=start_s + _STEPS_S[granularity],
        fetched_at_s=now_s,
        source=f"ElectricityMaps.com, {said}; free keys: no commercial use",
    )


def _kind(is_estimated: object, method: object, not_begun: bool) -> str:
    """actual is only what is said to be no estimate, by whatever name."""
    if is_estimated is False and method is None:
        return "actual"
    return "forecast" if not_begun else "estimated"


def _plain(method: object) -> str:
    """The method's name, such as FORECASTS_HIERARCHY or TIME_SLICER_AVERAGE, for a text for people."""
    return re.sub(r"[^A-Za-z0-9_]", "", str(method))[:40].lower()


def _same_zone(said: Any, zone: str, region: str) -> None:
    """What comes back is what was asked for. Of a cloud region, that the zone lies in the region's country."""
    found = entry(said, "zone", NAME)
    if ":" in region:
        country = resolve(zone).place[:2]
        if not isinstance(found, str) or found[:2] != country or found[2:3] not in ("", "-"):
            raise bad(NAME, "zone", f"is {shown(found)}, not one in {country}", Why.OTHER_ZONE)
    elif found != region:
        raise bad(NAME, "zone", f"is {shown(found)}, not {region!r}", Why.OTHER_ZONE)


class ElectricityMapsProvider:
    """latest each time, which must answer; history and forecast every hour. These may lack, and faults says why.

    A zone is settings.region where that is set: a zone of theirs, or "gcp:europe-west1" for a data centre of a cloud.
    """

    name = NAME

    def __init__(self, settings: ProviderSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, _base(settings.base_url), settings.timeout_s)
        # By endpoint and region: not before then (monotonic), and what the key's plan lacks of it, "" if nothing.
        self._again: dict[tuple[str, str], tuple[float, str]] = {}
        self.faults: tuple[JoulecarError, ...] = ()  # what the last answer lacks

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        """One statement about each time, measured or estimated, else forecast: once an hour about a day behind and
        three ahead, the running hour alone in between."""
        code, region = claim(NAME, zone, self._settings.region or covers(zone))
        latest = parse_latest(self._ask("latest", region, now), code, region, now.wall_s)
        faults: list[JoulecarError] = []
        history = self._rows("history", code, region, now, faults)
        forecast = self._rows("forecast", code, region, now, faults)
        self.faults = tuple(faults)
        known = {interval.valid_from_s: interval for interval in (*history, *latest)}
        until_s = max(interval.valid_to_s for interval in known.values())
        ahead = [interval for interval in forecast if interval.valid_from_s >= until_s]
        return in_order((*known.values(), *ahead), NAME, "latest, history and forecast", now.wall_s)

    def _rows(
        self, endpoint: str, zone: str, region: str, now: Instant, faults: list[JoulecarError]
    ) -> tuple[GridIntensity, ...]:
        """() if it cannot be had or was had within the hour; what the plan lacks is asked for again tomorrow."""
        not_before_s, lacks = self._again.get((endpoint, region), (float("-inf"), ""))
        if now.mono_s < not_before_s:
            if lacks:
                faults.append(Unavailable(lacks))
            return ()
        try:
            body = self._ask(endpoint, region, now)
            found = parse_rows(body, zone, region, now.wall_s, forecast=endpoint == "forecast")
            self._again[endpoint, region] = now.mono_s + _ROWS_EVERY_S, ""
            return found
        except Unavailable as lacking:
            self._again[endpoint, region] = now.mono_s + _PLAN_AGAIN_S, f"{NAME}: the key's plan lacks {endpoint}"
            faults.append(lacking)
        except JoulecarError as error:
            faults.append(error)
        return ()

    def _ask(self, endpoint: str, region: str, now: Instant) -> bytes:
        if self._settings.token is None:
            raise Unavailable(f"{NAME}: no key", f"set token_env or token_file in [grid.{NAME}]")
        answer = self._server.get(
            f"/carbon-intensity/{endpoint}",
            {
                **_place(region),
                "emissionFactorType": BASIS,
                "disableCallerLookup": "true",
                **({"horizonHours": HORIZON_H} if endpoint == "forecast" else {}),
            },
            headers={"auth-token": self._settings.token.value},
        )
        if answer.status != 200:
            raise _refusal(answer, endpoint, region[:40])
        return answer.body


def _base(base_url: str) -> str:
    """With the version of the API, which is v4 unless base_url ends in another."""
    base = (base_url or BASE_URL).rstrip("/")
    return base if re.search(r"/v\d+$", base) else f"{base}/v4"


def _place(region: str) -> dict[str, str]:
    cloud, colon, data_centre = region.partition(":")
    return {"dataCenterProvider": cloud, "dataCenterRegion": data_centre} if colon else {"zone": region}


def _refusal(answer: Answer, endpoint: str, region: str) -> JoulecarError:
    """The status, with the two words of the body that tell what it means. The body itself is never quoted."""
    said = f"{NAME}: http {answer.status}"
    body = answer.body[:4096].lower()
    if answer.status == 401 and b"unauthorized for" in body:
        return Unavailable(
            f"{said}: the key's plan lacks {endpoint} of {region}", f"set grid.{NAME}.region to a zone of your plan"
        )
    if answer.status == 400 or (answer.status == 404 and b"does not exist" in body):
        return Unavailable(f"{said}: {endpoint} of {region} is not known there", f"set grid.{NAME}.region")
    if answer.status == 404:
        return ReadFailed(f"{said}: no data of {region} now")
    return refused(answer, NAME)
