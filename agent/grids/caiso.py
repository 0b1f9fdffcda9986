"""California, from CAISO's Today's Outlook: every five minutes, of the electricity that its grid serves.

    I [g/kWh] = sum of the CO2 columns [t/h] / sum of the supply columns [MW] * 1000 [kg/t]

co2.csv and fuelsource.csv hold the same day, one row for every five minutes, imports included (they are negative while
California exports); storage is negative while it charges. The CO2 is CAISO's own estimate of combustion: direct.

The rows have a clock time of California and no date, so the date is found from the time of asking: it is the latest day
on which the file's last full row does not lie in the future. Just after midnight that is yesterday, as the file of the
day before stands for a few minutes. At the end of summer time an hour of the clock comes twice: the second row of the
same clock time is the later one, and where the file has only one row for it nobody can tell which, so such rows are
left out. A row that lacks a value is not there yet and left out as well.

No limit is published. The server may not answer from outside the United States.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from agent.errors import ReadFailed, Unavailable
from agent.grids.http import Asking, Http
from agent.grids.payload import Why, bad, g_per_kwh, number, shown
from agent.grids.region import claim, region_of
from agent.grids.series import in_order
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "caiso"
LICENCE = "California ISO, Today's Outlook: published for anyone; no licence stated"
EVERY_S = 300.0
BASE_URL = "https://www.caiso.com"
CO2_PATH, SUPPLY_PATH = "/outlook/current/co2.csv", "/outlook/current/fuelsource.csv"

REGIONS: Mapping[str, str] = MappingProxyType({"US-CA": "CISO"})

_STEP_S = 300.0
_AHEAD_S = 600.0  # a row may be there a little before its time, by our clock
_MAX_AGE_S = 3 * 3600.0  # an older last row: the date that we would find may be wrong by a day
_CO2_NEEDED = ("Natural Gas CO2", "Imports CO2")
_SUPPLY_NEEDED = ("Solar", "Natural Gas", "Imports")


@dataclass(frozen=True, slots=True)
class Row:
    """One clock time of the file and the sum of its columns; None: not there yet. nth of so many of this time."""

    clock: time
    total: float | None
    nth: int
    of: int


def covers(zone: str) -> str | None:
    """The balancing authority of a zone; None if it is not California's."""
    return region_of(zone, REGIONS)


def parse(co2: bytes, supply: bytes, zone: str, now_s: float) -> tuple[GridIntensity, ...]:
    """The five-minute intensities that both files have, oldest first. Raises ReadFailed for every fault of either."""
    tonnes = _dated(_rows(co2, "co2.csv", _CO2_NEEDED), "co2.csv", now_s)
    megawatts = _dated(_rows(supply, "fuelsource.csv", _SUPPLY_NEEDED), "fuelsource.csv", now_s)
    found = []
    for start_s in sorted(tonnes.keys() & megawatts.keys()):
        field = f"the row of {datetime.fromtimestamp(start_s, UTC):%H:%M} UTC"
        if megawatts[start_s] <= 0:
            raise bad(NAME, field, f"has {megawatts[start_s]:g} MW of supply", Why.OUT_OF_RANGE)
        found.append(
            GridIntensity(
                zone=zone,
                g_per_kwh=g_per_kwh(tonnes[start_s] / megawatts[start_s] * 1000.0, NAME, field),
                provider=NAME,
                basis="direct",
                kind="actual",
                valid_from_s=start_s,
                valid_to_s=start_s + _STEP_S,
                fetched_at_s=now_s,
                source="Today's Outlook, California ISO: CO2 over supply, imports included",
            )
        )
    return in_order(found, NAME, "co2.csv and fuelsource.csv together", now_s)


def _rows(body: bytes, file: str, needed: Sequence[str]) -> list[Row]:
    """The file's rows. A column that is blank throughout reports nothing, unless it is one of the big ones."""
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise bad(NAME, file, "is not CSV", Why.UNREADABLE) from error
    if not lines:
        raise bad(NAME, file, "is empty", Why.EMPTY)
    if lines[0][0].strip() != "Time":
        raise bad(NAME, file, "does not begin with the column Time")
    names = [name.strip() for name in lines[0]]
    if absent := [name for name in needed if name not in names]:
        raise bad(NAME, file, f"has no column {absent[0]!r}", Why.MISSING)
    table = [[cell.strip() for cell in line] for line in lines[1:]]
    for i, cells in enumerate(table):
        if len(cells) != len(names):
            raise bad(NAME, file, f"line {i + 2} has {len(cells)} cells, not {len(names)}")
    used = [n for n in range(1, len(names)) if names[n] in needed or any(cells[n] for cells in table)]
    clocks = [_clock(cells[0], f"{file} line {i + 2}") for i, cells in enumerate(table)]
    of, nth = Counter(clocks), Counter[time]()
    rows = []
    for i, (clock, cells) in enumerate(zip(clocks, table, strict=True)):
        values = [_value(cells[n], f"{file} line {i + 2}, {names[n]}") for n in used]
        known = [value for value in values if value is not None]
        total = math.fsum(known) if known and len(known) == len(values) else None
        rows.append(Row(clock, total, nth[clock], of[clock]))
        nth[clock] += 1
    return rows


def _dated(rows: Sequence[Row], file: str, now_s: float) -> dict[float, float]:
    """The full rows by their start, Unix seconds, on the latest day that does not put the last one in the future."""
    today = datetime.fromtimestamp(now_s + _AHEAD_S, _pacific()).date()
    full = [row for row in rows if row.total is not None]
    if not full:
        raise bad(NAME, file, "holds no full row yet", Why.EMPTY)
    impossible: ReadFailed | None = None
    for day in (today, today - timedelta(days=1)):
        try:
            found = {at_s: row.total for row in full if (at_s := _utc_s(day, row, file)) is not None}
        except ReadFailed as error:  # a clock time that this day has not, or not twice: another day's file
            impossible = impossible or error
            continue
        if not found or max(found) > now_s + _AHEAD_S:
            continue
        if max(found) < now_s - _MAX_AGE_S:
            break
        return {at_s: total for at_s, total in found.items() if total is not None}
    raise impossible or bad(NAME, file, "ends hours ago or has no row whose date can be told", Why.OTHER_TIME)


def _utc_s(day: date, row: Row, file: str) -> float | None:
    """None: the hour that comes twice, and a file that has it once."""
    pacific = _pacific()
    first, second = (datetime.combine(day, row.clock.replace(fold=fold), pacific) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        if row.of > 1:
            raise bad(
                NAME, file, f"has {row.of} rows of {row.clock:%H:%M} on a day on which it comes once", Why.REPEATED_TIME
            )
        return first.timestamp()
    if datetime.fromtimestamp(first.timestamp(), pacific).time() != row.clock:
        raise bad(NAME, file, f"has a value at {row.clock:%H:%M}, which the clock skips on that day", Why.OTHER_TIME)
    if row.of != 2:
        return None
    return (first, second)[row.nth].timestamp()


def _clock(text: str, field: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a clock time has no zone of its own
    except ValueError as error:
        raise bad(NAME, field, f"has the time {shown(text)}, not such as 14:05", Why.OTHER_TIME) from error


def _value(text: str, field: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise bad(NAME, field, f"is {shown(text)}, not a number", Why.NOT_A_NUMBER) from error
    return number(value, NAME, field)


def _pacific() -> ZoneInfo:
    try:
        return ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError as error:
        raise Unavailable("caiso needs the time zone database", "pip install tzdata") from error


class CaisoProvider:
    """The day so far in each answer."""

    name = NAME

    def __init__(self, settings: ProviderSettings, http: Http) -> None:
        self._settings = settings
        self._server = Asking(NAME, http, settings.base_url or BASE_URL, settings.timeout_s)

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        code, _ = claim(NAME, zone, self._settings.region or covers(zone))
        return parse(self._ask(CO2_PATH), self._ask(SUPPLY_PATH), code, now.wall_s)

    def _ask(self, path: str) -> bytes:
        return self._server.body(path, headers={"accept": "text/csv"})
