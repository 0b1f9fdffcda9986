"""Europe, from ENTSO-E's Transparency Platform: the generation mix of a country or bidding zone, times factors.

ENTSO-E publishes megawatts per type of plant (A75, actual generation per type, realised) and no CO2. The intensity is
made here with the lifecycle factors of agent/grids/mix.py, production only: what is imported is not in it, so it is
poor for small countries that import much. Lifecycle, because the yearly figures of the countries are.

How the document is read:
- several TimeSeries; one with outBiddingZone is consumption (pumps), and not generation
- a Period counts positions from its start in steps of its resolution. Under curveType A03 a position that is absent
  repeats the one before, to the end of the Period; under A01 it is a gap, and a gap is not 0
- a quarter of an hour counts when every type that the document knows has a figure for it: types come in at different
  times, up to an hour and more late, and a mix without its gas looks clean
- "No matching data found" comes as an Acknowledgement with status 200, and with 400

Needs a free token, sent in the query, as ENTSO-E wants it. Limit: 400 requests a minute, then a ban of 10 minutes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from xml.etree.ElementTree import Element

from agent.errors import ReadFailed, Unavailable
from agent.grids.eic import AREAS
from agent.grids.http import Answer, Asking, Http, body_of
from agent.grids.mix import LIFECYCLE, LIFECYCLE_SOURCE, of_kinds_g_per_kwh
from agent.grids.payload import Why, bad, g_per_kwh, number, shown, utc_s
from agent.grids.region import claim, region_of
from agent.grids.series import in_order, same, utc_text
from agent.grids.xml import children, read_xml, tag, text_at
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "entsoe"
LICENCE = "ENTSO-E Transparency Platform, CC BY 4.0 for the data items on its list; needs a free token"
EVERY_S = 900.0
BASE_URL = "https://web-api.tp.entsoe.eu"
PATH = "/api"

# psrType -> fuel. B15 (other renewable) and B20 (other) have no factor. Peat and oil shale count as lignite, their
# nearest neighbour in CO2 per heat; gas from coal as coal; waste as biomass.
_FUELS: Mapping[str, str] = MappingProxyType(
    {
        "B01": "biomass",
        "B02": "lignite",
        "B03": "coal",
        "B04": "gas",
        "B05": "coal",
        "B06": "oil",
        "B07": "lignite",
        "B08": "lignite",
        "B09": "geothermal",
        "B11": "hydro",
        "B12": "hydro",
        "B13": "ocean",
        "B14": "nuclear",
        "B16": "solar",
        "B17": "biomass",
        "B18": "wind_offshore",
        "B19": "wind_onshore",
    }
)
_STORAGE = frozenset(("B10", "B25"))  # pumped storage; batteries and others

_STEPS_S: Mapping[str, float] = {"PT15M": 900.0, "PT30M": 1800.0, "PT60M": 3600.0}
_HISTORY_S = 26 * 3600.0
_MAX_POINTS = 100_000  # a week of 20 types at 15 minutes is 13,000; A03 lets a small document mean far more
_SPANNED = ("A01", "A03")


def covers(zone: str) -> str | None:
    """The energy identification code of a zone; None outside the platform's countries."""
    return region_of(zone, AREAS)


def parse_generation(body: bytes, zone: str, eic: str, now_s: float) -> tuple[GridIntensity, ...]:
    """The intervals whose mix is whole, oldest first. Raises ReadFailed for every fault of the answer."""
    root = read_xml(body, NAME)
    if tag(root) == "Acknowledgement_MarketDocument":
        raise _acknowledged(root)
    if tag(root) != "GL_MarketDocument":
        raise bad(NAME, "answer", f"is a {shown(tag(root))}, not a GL_MarketDocument")
    mw: defaultdict[str, dict[float, tuple[float, float]]] = defaultdict(dict)  # psrType -> start -> (end, MW)
    points = 0
    for i, series in enumerate(children(root, "TimeSeries")):
        for psr, start_s, end_s, quantity in _steps(series, eic, f"TimeSeries[{i}]"):
            points += 1
            if points > _MAX_POINTS:
                raise bad(NAME, "answer", f"means more than {_MAX_POINTS} values", Why.TOO_LARGE)
            if mw[psr].setdefault(start_s, (end_s, quantity)) != (end_s, quantity):
                raise bad(
                    NAME, f"TimeSeries[{i}]", f"gives {psr} a second value at {utc_text(start_s)}", Why.REPEATED_TIME
                )
    if not mw:
        raise bad(NAME, "TimeSeries", "holds no generation", Why.EMPTY)
    found = []
    for start_s, end_s, by_type in _whole(mw):
        intensity = of_kinds_g_per_kwh(by_type, _FUELS, LIFECYCLE)
        if intensity is None:
            continue
        found.append(
            GridIntensity(
                zone=zone,
                g_per_kwh=g_per_kwh(intensity, NAME, "the mix"),
                provider=NAME,
                basis="lifecycle",
                kind="actual",
                valid_from_s=start_s,
                valid_to_s=end_s,
                fetched_at_s=now_s,
                source=f"generation per type of {eic}, ENTSO-E; production only; {LIFECYCLE_SOURCE}",
            )
        )
    if not found:
        fault = "holds no time for which every type has a figure and enough of them a factor"
        raise bad(NAME, "TimeSeries", fault, Why.EMPTY)
    return in_order(found, NAME, "TimeSeries", now_s)


def _acknowledged(root: Element) -> ReadFailed:
    """The platform's way to say no. Its text is not quoted: it may repeat what was asked, token included."""
    reason = next(iter(children(root, "Reason")), root)
    if "no matching data" in (text_at(reason, "text") or "").lower():
        return bad(NAME, "answer", "is: no matching data found", Why.EMPTY)
    return bad(NAME, "answer", f"is a refusal with code {shown(text_at(reason, 'code'))}", Why.ERROR_BODY)


def _steps(series: Element, eic: str, field: str) -> Iterator[tuple[str, float, float, float]]:
    """Type, start, end and megawatts of every step of a series of generation; nothing for consumption and storage."""
    if children(series, "outBiddingZone_Domain.mRID"):
        return
    same(text_at(series, "inBiddingZone_Domain.mRID"), eic, NAME, f"{field}.inBiddingZone_Domain.mRID")
    unit = text_at(series, "quantity_Measure_Unit.name")
    same(unit, "MAW", NAME, f"{field}.quantity_Measure_Unit.name", Why.OTHER_QUANTITY)
    psr = text_at(series, "MktPSRType", "psrType")
    if psr is None or len(psr) != 3 or not psr.isalnum():
        raise bad(NAME, f"{field}.psrType", f"is {shown(psr)}")
    curve = text_at(series, "curveType") or "A01"
    if curve not in _SPANNED:
        raise bad(NAME, f"{field}.curveType", f"is {shown(curve)}, not A01 or A03")
    if psr in _STORAGE:
        return
    for period in children(series, "Period"):
        start_s = utc_s(text_at(period, "timeInterval", "start"), NAME, f"{field}.Period.start")
        end_s = utc_s(text_at(period, "timeInterval", "end"), NAME, f"{field}.Period.end")
        resolution = text_at(period, "resolution")
        step_s = _STEPS_S.get(resolution or "")
        if step_s is None:
            raise bad(
                NAME,
                f"{field}.Period.resolution",
                f"is {shown(resolution)}, not PT15M, PT30M or PT60M",
                Why.OTHER_QUANTITY,
            )
        count, rest_s = divmod(end_s - start_s, step_s)
        if not 1 <= count <= _MAX_POINTS or rest_s:
            raise bad(NAME, f"{field}.Period", f"is not a number of steps of {resolution}")
        points = _points(period, int(count), f"{field}.Period")
        for n, (position, quantity) in enumerate(points):
            following = points[n + 1][0] if n + 1 < len(points) else int(count) + 1
            for held in range(position, following if curve == "A03" else position + 1):
                yield psr, start_s + (held - 1) * step_s, start_s + held * step_s, quantity


def _points(period: Element, count: int, field: str) -> list[tuple[int, float]]:
    """Position, from 1, and quantity; the positions ascend."""
    found: list[tuple[int, float]] = []
    for point in children(period, "Point"):
        at, quantity = text_at(point, "position") or "", text_at(point, "quantity")
        last = found[-1][0] if found else 0
        if not (at.isascii() and at.isdigit() and len(at) <= 6 and last < int(at) <= count):
            raise bad(NAME, f"{field}.position", f"is {shown(at)}, not above {last} and up to {count}")
        try:
            value = float(quantity or "")
        except ValueError as error:
            raise bad(NAME, f"{field}.quantity", f"is {shown(quantity)}, not a number", Why.NOT_A_NUMBER) from error
        found.append((int(at), number(value, NAME, f"{field}.quantity")))
    if not found:
        raise bad(NAME, field, "has no Point", Why.EMPTY)
    return found


def _whole(
    mw: Mapping[str, Mapping[float, tuple[float, float]]],
) -> Iterator[tuple[float, float, Mapping[str, float]]]:
    """Every step of the finest resolution for which each type has a figure, of its own step or of a longer one."""
    step_s = min(end_s - start_s for steps in mw.values() for start_s, (end_s, _) in steps.items())
    fine: defaultdict[float, dict[str, float]] = defaultdict(dict)
    for psr, steps in mw.items():
        for start_s, (end_s, quantity) in steps.items():
            for n in range(round((end_s - start_s) / step_s)):
                at_s = start_s + n * step_s
                if fine[at_s].setdefault(psr, quantity) != quantity:
                    raise bad(NAME, "TimeSeries", f"gives {psr} a second value at {utc_text(at_s)}", Why.REPEATED_TIME)
    for at_s in sorted(fine):
        if fine[at_s].keys() == mw.keys():
            yield at_s, at_s + step_s, fine[at_s]


class EntsoeProvider:
    """The last 26 hours, as far as they are there: the newest is an hour or two old."""

    name = NAME

    def __init__(self, settings: ProviderSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url or BASE_URL, settings.timeout_s)

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        """Raises Unavailable without a token, and for a zone outside the platform's countries."""
        code, eic = claim(NAME, zone, self._settings.region or covers(zone))
        if self._settings.token is None:
            raise Unavailable(
                "entsoe needs a token",
                "register at transparency.entsoe.eu, ask for API access, set grid.entsoe.token_env",
            )
        hour_s = now.wall_s - now.wall_s % 3600.0
        answer = self._server.get(
            PATH,
            {
                "securityToken": self._settings.token.value,
                "documentType": "A75",
                "processType": "A16",
                "in_Domain": eic,
                "periodStart": utc_text(hour_s - _HISTORY_S, "%Y%m%d%H%M"),
                "periodEnd": utc_text(hour_s + 3600.0, "%Y%m%d%H%M"),
            },
            headers={"accept": "application/xml"},
        )
        return parse_generation(_document(answer), code, eic, now.wall_s)


def _document(answer: Answer) -> bytes:
    """A 400 with a document says why in it; any other refusal is read from its status."""
    return answer.body if answer.status == 400 and answer.body.lstrip()[:1] == b"<" else body_of(answer, NAME)
