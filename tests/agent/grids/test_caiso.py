"""California: tonnes an hour over megawatts, and clock times without a date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from agent.errors import Unavailable
from agent.grids.caiso import CO2_PATH, NAME, SUPPLY_PATH, CaisoProvider, covers, parse
from agent.model import GridIntensity
from tests.agent.grids.asking import HTTP, at, refusal, settings
from tests.fakes.engine_server import EngineServer, answer

PACIFIC = ZoneInfo("America/Los_Angeles")
CO2_HEAD = "Time,Biogas CO2,Biomass CO2,Natural Gas CO2,Coal CO2,Imports CO2,Geothermal CO2"
SUPPLY_HEAD = (
    "Time,Solar,Wind,Geothermal,Biomass,Biogas,Small hydro,Coal,Nuclear,Natural Gas,Large Hydro,Batteries,Imports,Other"
)
CO2_ROW = "82,112,5047,0,1901,7"  # 7,149 t/h, of 00:00
SUPPLY_ROW = "-40,3000,900,250,190,180,0,2260,12000,1500,-1200,5960,0"  # 25,000 MW
G_PER_KWH = 7149 / 25_000 * 1000
CLOCKS = [f"{minute // 60:02}:{minute % 60:02}" for minute in range(0, 24 * 60, 5)]


def local_s(text: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=PACIFIC, fold=fold).timestamp()


def table(head: str, row: str, clocks: Sequence[str], until: int) -> bytes:
    """A day's file whose first rows are filled, as far as the day has come, and whose others are blank."""
    blank = "," * row.count(",")
    lines = [f"  {clock},{row if n < until else blank}" for n, clock in enumerate(clocks)]
    return "\r\n".join([head, *lines, ""]).encode()


def day(until: int, now_s: float, clocks: Sequence[str] = CLOCKS) -> tuple[GridIntensity, ...]:
    co2 = table(CO2_HEAD, CO2_ROW, clocks, until)
    return parse(co2, table(SUPPLY_HEAD, SUPPLY_ROW, clocks, until), "US-CA", now_s)


def hhmm(entry: GridIntensity) -> str:
    return f"{datetime.fromtimestamp(entry.valid_from_s, PACIFIC):%m-%d %H:%M}"


@pytest.fixture
def server() -> Iterator[EngineServer]:
    served = {
        CO2_PATH: answer(body=table(CO2_HEAD, CO2_ROW, CLOCKS, 121)),
        SUPPLY_PATH: answer(body=table(SUPPLY_HEAD, SUPPLY_ROW, CLOCKS, 121)),
    }
    with EngineServer(served) as started:
        yield started


def test_a_row_is_five_minutes_of_all_that_the_grid_serves_imports_included() -> None:
    now_s = local_s("2026-10-06T00:04")
    assert day(1, now_s) == (
        GridIntensity(
            zone="US-CA",
            g_per_kwh=G_PER_KWH,
            provider="caiso",
            signal="average",
            basis="direct",
            kind="actual",
            valid_from_s=datetime(2026, 10, 6, 7, tzinfo=UTC).timestamp(),  # midnight of summer time
            valid_to_s=datetime(2026, 10, 6, 7, 5, tzinfo=UTC).timestamp(),
            fetched_at_s=now_s,
            source="Today's Outlook, California ISO: CO2 over supply, imports included",
        ),
    )


def test_the_provider_asks_for_both_files(server: EngineServer) -> None:
    now_s = local_s("2026-10-06T10:04")
    found = CaisoProvider(settings(server), HTTP).fetch("California", at(now_s))
    assert len(found) == 121
    assert (hhmm(found[0]), hhmm(found[-1])) == ("10-06 00:00", "10-06 10:00")
    assert sorted(path for path, _ in server.asked) == [CO2_PATH, SUPPLY_PATH]


def test_blank_rows_are_the_rest_of_the_day_and_never_zero() -> None:
    assert len(day(12, local_s("2026-10-06T01:00"))) == 12
    with refusal(NAME, "co2.csv", "no full row yet"):
        day(0, local_s("2026-10-06T00:01"))


def test_a_time_that_only_one_file_has_is_left_out() -> None:
    now_s = local_s("2026-10-06T01:00")
    co2, supply = table(CO2_HEAD, CO2_ROW, CLOCKS, 12), table(SUPPLY_HEAD, SUPPLY_ROW, CLOCKS, 11)
    assert hhmm(parse(co2, supply, "US-CA", now_s)[-1]) == "10-06 00:50"


def test_exports_may_be_negative_as_long_as_the_sum_is_not() -> None:
    now_s = local_s("2026-10-06T00:04")
    supply = table(SUPPLY_HEAD, SUPPLY_ROW, CLOCKS, 1)
    exporting = table(CO2_HEAD, "82,112,5047,0,-500,7", CLOCKS, 1)
    assert parse(exporting, supply, "US-CA", now_s)[0].g_per_kwh == pytest.approx(4748 / 25)
    with refusal(NAME, "07:00 UTC", "g/kWh"):
        parse(table(CO2_HEAD, "82,112,5047,0,-9500,7", CLOCKS, 1), supply, "US-CA", now_s)


# The date


def test_just_before_midnight_the_full_file_is_todays() -> None:
    found = day(288, local_s("2026-10-06T23:59"))
    assert (hhmm(found[0]), hhmm(found[-1])) == ("10-06 00:00", "10-06 23:55")


def test_just_after_midnight_the_full_file_is_yesterdays() -> None:
    found = day(288, local_s("2026-10-07T00:02"))
    assert (hhmm(found[0]), hhmm(found[-1])) == ("10-06 00:00", "10-06 23:55")


def test_a_row_that_is_a_little_early_is_todays_all_the_same() -> None:
    """At midnight the first row may be there before our clock says so."""
    assert hhmm(day(1, local_s("2026-10-06T23:58"))[0]) == "10-07 00:00"
    assert hhmm(day(121, local_s("2026-10-06T09:56"))[-1]) == "10-06 10:00"


def test_a_file_that_stands_still_for_hours_has_no_date_that_can_be_told() -> None:
    assert day(121, local_s("2026-10-06T12:30"))
    for now in ("2026-10-06T13:30", "2026-10-07T05:00"):
        with refusal(NAME, "co2.csv", "hours ago"):
            day(121, local_s(now))


# Summer time ends on 2026-11-01: 01:00 to 01:59 comes twice. It begins on 2026-03-08: 02:00 to 02:59 is skipped.

TWICE = [*CLOCKS[:24], *CLOCKS[12:]]


def test_the_hour_that_comes_twice_is_told_apart_where_the_file_has_it_twice() -> None:
    found = day(30, local_s("2026-11-01T01:30", fold=1), TWICE)
    starts_s = [entry.valid_from_s for entry in found]
    assert starts_s == [local_s("2026-11-01T00:00") + 300.0 * n for n in range(30)]
    assert day(300, local_s("2026-11-01T23:59"), TWICE)[-1].valid_to_s - starts_s[0] == 25 * 3600


def test_the_hour_that_comes_twice_is_left_out_where_the_file_has_it_once() -> None:
    found = day(36, local_s("2026-11-01T03:00"))
    assert [hhmm(entry)[6:8] for entry in found] == ["00"] * 12 + ["02"] * 12
    assert found[12].valid_from_s == local_s("2026-11-01T02:00")


def test_after_the_midnight_that_follows_the_file_of_twenty_five_hours_is_yesterdays() -> None:
    assert len(day(300, local_s("2026-11-02T00:02"), TWICE)) == 300


def test_an_hour_twice_on_an_ordinary_day_is_refused() -> None:
    with refusal(NAME, "co2.csv", "2 rows of 01:00", "comes once"):
        day(30, local_s("2026-10-06T01:30"), TWICE)


def test_the_hour_that_is_skipped_has_no_value() -> None:
    now_s = local_s("2026-03-08T04:00")
    skipping = [clock for clock in CLOCKS if not clock.startswith("02")]
    starts_s = [entry.valid_from_s for entry in day(36, now_s, skipping)]
    assert starts_s == [local_s("2026-03-08T00:00") + 300.0 * n for n in range(36)]
    with refusal(NAME, "co2.csv", "02:00", "skips"):
        day(48, now_s)


def test_at_any_moment_of_a_year_the_rows_are_those_of_the_day_so_far() -> None:
    moment = datetime(2026, 1, 1, 9, tzinfo=UTC)
    while moment.year == 2026:
        midnight_s = local_s(f"{moment.astimezone(PACIFIC):%Y-%m-%d}")
        starts_s = [midnight_s + 300.0 * n for n in range(int((moment.timestamp() - midnight_s) // 300))]
        clocks = [f"{datetime.fromtimestamp(start_s, PACIFIC):%H:%M}" for start_s in starts_s]
        if starts_s and len(set(clocks)) == len(clocks):  # the day on which an hour comes twice has its own tests
            assert [entry.valid_from_s for entry in day(len(clocks), moment.timestamp(), clocks)] == starts_s
        moment += timedelta(days=5, hours=7, minutes=35)


# Faults


@pytest.mark.parametrize(
    ("zone", "region"),
    [("US-CA", "CISO"), ("us-west-1", "CISO"), ("azure:westus", "CISO"), ("US-NV", None), ("CA", None)],
)
def test_it_covers_california(zone: str, region: str | None) -> None:
    assert covers(zone) == region


def test_another_zone_is_unavailable(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="does not cover US-NV"):
        CaisoProvider(settings(server), HTTP).fetch("Nevada", at(local_s("2026-10-06T10:04")))
    assert server.asked == []


@pytest.mark.parametrize(
    ("co2", "words"),
    [
        (b"", ("co2.csv", "empty")),
        (b"<html><body>Access denied</body></html>", ("co2.csv", "not begin with the column Time")),
        (b"\xff\xfe\x00", ("co2.csv", "not CSV")),
        (CO2_HEAD.encode(), ("co2.csv", "no full row")),
        (b"Time,Coal CO2,Imports CO2\n00:00,1,2\n", ("co2.csv", "'Natural Gas CO2'")),
        (f"{CO2_HEAD}\n00:00,{CO2_ROW},9\n".encode(), ("line 2", "8 cells, not 7")),
        (f"{CO2_HEAD}\n24:00,{CO2_ROW}\n".encode(), ("line 2", "24:00")),
        (f"{CO2_HEAD}\n10/06/2026 00:00,{CO2_ROW}\n".encode(), ("line 2", "not such as 14:05")),
        (f"{CO2_HEAD}\n00:00,82,112,n/a,0,1901,7\n".encode(), ("line 2, Natural Gas CO2", "not a number")),
        (f"{CO2_HEAD}\n00:00,82,112,nan,0,1901,7\n".encode(), ("line 2, Natural Gas CO2", "not finite")),
        (f"{CO2_HEAD}\n00:00,82,112,5e9,0,1901,7\n".encode(), ("07:00 UTC", "g/kWh")),
        (f"{CO2_HEAD}\n00:00,82,112,,0,1901,7\n".encode(), ("co2.csv", "no full row")),
    ],
)
def test_a_faulty_file_is_refused_with_its_place(co2: bytes, words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        parse(co2, table(SUPPLY_HEAD, SUPPLY_ROW, CLOCKS, 1), "US-CA", local_s("2026-10-06T00:04"))


def test_no_supply_is_a_fault_and_no_division() -> None:
    with refusal(NAME, "MW of supply"):
        nothing = table(SUPPLY_HEAD, "0,0,0,0,0,0,0,0,0,0,0,0,0", CLOCKS, 1)
        parse(table(CO2_HEAD, CO2_ROW, CLOCKS, 1), nothing, "US-CA", local_s("2026-10-06T00:04"))


def test_a_small_source_that_never_reports_is_nothing_and_a_big_one_is_a_fault() -> None:
    now_s = local_s("2026-10-06T00:04")
    supply = table(SUPPLY_HEAD, SUPPLY_ROW, CLOCKS, 1)
    assert parse(table(CO2_HEAD, "82,112,5047,,1901,7", CLOCKS, 1), supply, "US-CA", now_s)[0].g_per_kwh > 0
    with refusal(NAME, "no full row"):
        parse(table(CO2_HEAD, "82,112,5047,0,,7", CLOCKS, 1), supply, "US-CA", now_s)


def test_a_row_with_one_blank_is_not_there_yet() -> None:
    now_s = local_s("2026-10-06T00:09")
    halfway = f"{CO2_HEAD}\n00:00,{CO2_ROW}\n00:05,82,112,5047,0,1901,\n".encode()
    assert len(parse(halfway, table(SUPPLY_HEAD, SUPPLY_ROW, CLOCKS, 2), "US-CA", now_s)) == 1
