"""Marginal emissions of a WattTime region, every five minutes: what one kWh more or less changes (consequential).

Not what a kWh has caused on average, so never the default of a footprint and never mixed with an average. API v3: a
login by name and password gives a token for 30 minutes; forecast[0] is the estimate of the five minutes that run now,
the rest looks a day ahead. Values are in pounds of CO2 per MWh: x 0.45359237 gives g/kWh. The signal index is a
percentile from 0 to 100 and no intensity: an answer in any unit but pounds per MWh is refused.

Limits: 3,000 requests and 100 logins in 5 minutes a user; this asks once and logs in at most once a minute, and after
403 (the plan lacks the region) not at all.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from agent.errors import ReadFailed, Unavailable
from agent.grids.http import Answer, Asking, Http, body_of, refused
from agent.grids.payload import Why, bad, entry, g_per_kwh, number, read_json, shown, utc_s
from agent.grids.region import claim, region_of
from agent.grids.series import in_order, objects, same
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "watttime"
LICENCE = "proprietary: WattTime's terms; needs an account, whose free plan has CAISO_NORTH alone"
EVERY_S = 300.0
BASE_URL = "https://api.watttime.org"

REGIONS: Mapping[str, str] = MappingProxyType({"US-CA": "CAISO_NORTH"})  # the one region of the free plan

G_PER_KWH_IN_LB_PER_MWH = 0.45359237  # 453.59237 g a pound, 1,000 kWh a MWh
SIGNAL_TYPE = "co2_moer"  # marginal operating emissions rate
UNIT = "lbs_co2_per_mwh"
HORIZON_H = "24"

_STEP_S = 300.0
_NEAR_S = 3600.0  # a forecast that begins further away was made for another time
_TOKEN_LASTS_S = 28 * 60.0  # two minutes less than it is said to
_LOGIN_EVERY_S = 60.0


def covers(zone: str) -> str | None:
    """The region of a zone. All others than California are set as grid.watttime.region."""
    return region_of(zone, REGIONS)


def parse_forecast(body: bytes, zone: str, region: str, now_s: float) -> tuple[GridIntensity, ...]:
    """The running five minutes as an estimate and the forecast after them, oldest first. Raises ReadFailed for every
    fault of the answer: another region, another signal, another unit."""
    data = read_json(body, NAME)
    meta = entry(data, "meta", NAME)
    same(entry(meta, "region", NAME), region, NAME, "meta.region")
    same(entry(meta, "signal_type", NAME), SIGNAL_TYPE, NAME, "meta.signal_type", Why.OTHER_QUANTITY)
    same(entry(meta, "units", NAME), UNIT, NAME, "meta.units", Why.OTHER_QUANTITY)
    step_s = _STEP_S
    if "data_point_period_seconds" in meta:
        step_s = number(meta["data_point_period_seconds"], NAME, "meta.data_point_period_seconds")
        if not 0 < step_s <= 3600:
            raise bad(NAME, "meta.data_point_period_seconds", f"is {step_s:g}", Why.OTHER_QUANTITY)
    points = objects(data, "data", NAME)
    starts_s = [utc_s(entry(p, "point_time", NAME), NAME, f"data[{i}].point_time") for i, p in enumerate(points)]
    first_s = min(starts_s)
    if abs(first_s - now_s) > _NEAR_S:
        raise bad(NAME, "data[0].point_time", "is not now", Why.OTHER_TIME)
    found: list[GridIntensity] = []
    for i, (point, start_s) in enumerate(zip(points, starts_s, strict=True)):
        lb_per_mwh = number(entry(point, "value", NAME), NAME, f"data[{i}].value")
        found.append(
            GridIntensity(
                zone=zone,
                g_per_kwh=g_per_kwh(lb_per_mwh * G_PER_KWH_IN_LB_PER_MWH, NAME, f"data[{i}].value"),
                provider=NAME,
                signal="marginal",
                basis="direct",
                kind="estimated" if start_s == first_s <= now_s else "forecast",
                valid_from_s=start_s,
                valid_to_s=start_s + step_s,
                fetched_at_s=now_s,
                source=f"{SIGNAL_TYPE} {region}, WattTime; proprietary",
            )
        )
    return in_order(found, NAME, "data", now_s)


class WattTimeProvider:
    """Holds the token while it lasts. Neither it nor the password ever shows."""

    name = NAME

    def __init__(self, settings: ProviderSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(
            NAME, http, (settings.base_url or BASE_URL).rstrip("/").removesuffix("/v3"), settings.timeout_s
        )
        self._token = ""
        self._token_until_s = float("-inf")  # monotonic, as is the next
        self._login_from_s = float("-inf")

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        code, region = claim(NAME, zone, self._settings.region or covers(zone))
        fresh = not self._token or now.mono_s >= self._token_until_s
        if fresh:
            self._login(now)
        answer = self._forecast(region)
        if answer.status == 401 and not fresh:
            self._login(now)
            answer = self._forecast(region)
        if answer.status == 401:
            self._token = ""
            raise Unavailable(f"{NAME}: http 401: the token was refused right after the login", "ask WattTime")
        if answer.status == 403:
            raise Unavailable(
                f"{NAME}: http 403: your plan does not include {SIGNAL_TYPE} of {region[:40]}",
                f"set grid.{NAME}.region to a region of your plan",
            )
        return parse_forecast(body_of(answer, NAME), code, region, now.wall_s)

    def _login(self, now: Instant) -> None:
        """A new token. Raises Unavailable without an account or for a wrong one, and ReadFailed less than a minute
        after the last attempt, whatever came of that."""
        user, password = self._settings.user, self._settings.password
        if not user or password is None:
            raise Unavailable(f"{NAME}: no account", f"set user and password_env in [grid.{NAME}]")
        self._token = ""
        if now.mono_s < self._login_from_s:
            raise ReadFailed(f"{NAME}: the last login is less than a minute ago", self._login_from_s - now.mono_s)
        self._login_from_s = now.mono_s + _LOGIN_EVERY_S
        basic = b64encode(f"{user}:{password.value}".encode()).decode("ascii")
        answer = self._get("/login", {}, f"Basic {basic}")
        if answer.status in (401, 403):
            raise Unavailable(f"{NAME}: http {answer.status}: the login was refused", f"check [grid.{NAME}]")
        if answer.status != 200:
            raise refused(answer, NAME)
        token = entry(read_json(answer.body, NAME), "token", NAME)
        if not isinstance(token, str) or not token:
            raise bad(NAME, "token", f"is {shown(token) if not isinstance(token, str) else 'empty'}")
        self._token, self._token_until_s = token, now.mono_s + _TOKEN_LASTS_S

    def _forecast(self, region: str) -> Answer:
        params = {"region": region, "signal_type": SIGNAL_TYPE, "horizon_hours": HORIZON_H}
        return self._get("/v3/forecast", params, f"Bearer {self._token}")

    def _get(self, path: str, params: Mapping[str, str], authorization: str) -> Answer:
        return self._server.get(path, params, {"authorization": authorization})
