"""Europe: megawatts per type of plant, times factors; and XML that means no good."""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_uppercase, digits

import pytest

from agent.errors import ReadFailed, Unavailable
from agent.grids.eic import AREAS
from agent.grids.entsoe import NAME, PATH, EntsoeProvider, covers, parse_generation
from agent.grids.mix import LIFECYCLE
from agent.grids.zones import zones
from agent.model import GridIntensity
from tests.agent.grids.asking import HTTP, TOKEN, asked, at, refusal, settings
from tests.fakes.engine_server import EngineServer, answer

FR = "10YFR-RTE------C"
NOW_S = 1_791_255_600.0  # 2026-10-06T03:00:00Z
T0_S = 1_791_244_800.0  # 2026-10-06T00:00:00Z
NUCLEAR, GAS, SOLAR, HYDRO = (LIFECYCLE[fuel] for fuel in ("nuclear", "gas", "solar", "hydro"))


def period(
    *points: tuple[object, object],
    start: str = "2026-10-06T00:00Z",
    end: str = "2026-10-06T01:00Z",
    resolution: str = "PT15M",
) -> str:
    inside = "".join(f"<Point><position>{p}</position><quantity>{q}</quantity></Point>" for p, q in points)
    return (
        f"<Period><timeInterval><start>{start}</start><end>{end}</end></timeInterval>"
        f"<resolution>{resolution}</resolution>{inside}</Period>"
    )


def series(
    psr: str, *periods: str, curve: str = "A03", zone: str = FR, unit: str = "MAW", direction: str = "in"
) -> str:
    return (
        f"<TimeSeries><mRID>1</mRID><businessType>A01</businessType><objectAggregation>A08</objectAggregation>"
        f'<{direction}BiddingZone_Domain.mRID codingScheme="A01">{zone}</{direction}BiddingZone_Domain.mRID>'
        f"<quantity_Measure_Unit.name>{unit}</quantity_Measure_Unit.name>"
        + (f"<curveType>{curve}</curveType>" if curve else "")
        + f"<MktPSRType><psrType>{psr}</psrType></MktPSRType>{''.join(periods)}</TimeSeries>"
    )


def document(*all_series: str, head: str = '<?xml version="1.0" encoding="UTF-8"?>') -> bytes:
    return (
        f'{head}<GL_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0">'
        f"<mRID>d</mRID><type>A75</type><process.processType>A16</process.processType>{''.join(all_series)}"
        "</GL_MarketDocument>"
    ).encode()


def acknowledgement(code: str, text: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Acknowledgement_MarketDocument xmlns="urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:8:0">'
        f"<mRID>a</mRID><Reason><code>{code}</code><text>{text}</text></Reason></Acknowledgement_MarketDocument>"
    ).encode()


NO_DATA = acknowledgement(
    "999", "No matching data found for Data item Actual Generation per Production Type [16.1.B&amp;C]"
)


def parse(*all_series: str) -> tuple[GridIntensity, ...]:
    return parse_generation(document(*all_series), "FR", FR, NOW_S)


def values(*all_series: str) -> list[tuple[float, float]]:
    """Hours after midnight, and intensity."""
    return [((entry.valid_from_s - T0_S) / 3600, entry.g_per_kwh) for entry in parse(*all_series)]


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer({PATH: answer(body=document(series("B14", period((1, 40_000)))))}) as started:
        yield started


def test_a_mix_is_weighed_with_the_lifecycle_factors() -> None:
    (first, *others) = parse(series("B14", period((1, 30_000))), series("B04", period((1, 10_000))))
    assert first == GridIntensity(
        zone="FR",
        g_per_kwh=(30_000 * NUCLEAR + 10_000 * GAS) / 40_000,
        provider="entsoe",
        signal="average",
        basis="lifecycle",
        kind="actual",
        valid_from_s=T0_S,
        valid_to_s=T0_S + 900.0,
        fetched_at_s=NOW_S,
        source=f"generation per type of {FR}, ENTSO-E; production only; factors: IPCC AR5 WG III Annex III, medians; "
        "oil and lignite: WNA 2011",
    )
    assert len(others) == 3


def test_a_gap_of_a03_repeats_the_last_value_to_the_end_of_its_period() -> None:
    half, quarter = (NUCLEAR + GAS) / 2, (NUCLEAR + 3 * GAS) / 4
    found = values(series("B14", period((1, 500))), series("B04", period((1, 500), (3, 1500))))
    assert found == [(0.0, half), (0.25, half), (0.5, quarter), (0.75, quarter)]


@pytest.mark.parametrize("curve", ["A01", ""])
def test_a_gap_of_a01_is_a_gap_and_neither_zero_nor_the_value_before(curve: str) -> None:
    found = values(
        series("B14", period((1, 5), (2, 5), (3, 5), (4, 5))), series("B04", period((1, 5), (4, 5)), curve=curve)
    )
    assert [hour for hour, _ in found] == [0.0, 0.75]


def test_before_the_first_position_nothing_is_known_under_either_curve() -> None:
    assert [hour for hour, _ in values(series("B14", period((3, 500))))] == [0.5, 0.75]


def test_a_time_counts_when_every_type_has_its_figure() -> None:
    """Gas comes in an hour late: the hour without it would look clean."""
    late = series("B04", period((1, 500)))
    two_hours = series("B14", period((1, 500), end="2026-10-06T02:00Z"))
    assert [hour for hour, _ in values(two_hours, late)] == [0.0, 0.25, 0.5, 0.75]


def test_hours_and_quarters_meet_on_the_quarters() -> None:
    hourly = series("B14", period((1, 500), (2, 1500), end="2026-10-06T02:00Z", resolution="PT60M"))
    quarters = series("B04", period((1, 500), end="2026-10-06T02:00Z"))
    found = values(hourly, quarters)
    assert [hour for hour, _ in found] == [n / 4 for n in range(8)]
    assert found[3][1] == pytest.approx((NUCLEAR + GAS) / 2)
    assert found[4][1] == pytest.approx((3 * NUCLEAR + GAS) / 4)


def test_hours_alone_stay_hours() -> None:
    (entry,) = parse(series("B14", period((1, 500), resolution="PT60M")))
    assert entry.valid_to_s - entry.valid_from_s == 3600.0


def test_a_type_may_come_in_several_series_and_periods() -> None:
    later = period((1, 700), start="2026-10-06T01:00Z", end="2026-10-06T02:00Z")
    one = values(series("B14", period((1, 500)), later))
    assert one == values(series("B14", period((1, 500))), series("B14", later))
    assert len(one) == 8


def test_two_series_that_disagree_about_one_time_are_refused() -> None:
    assert values(series("B14", period((1, 500))), series("B14", period((1, 500))))
    with refusal(NAME, "B14", "second value at 2026-10-06T00:00Z"):
        parse(series("B14", period((1, 500))), series("B14", period((1, 501))))
    with refusal(NAME, "B14", "second value at 2026-10-06T00:00Z"):
        parse(series("B14", period((1, 500))), series("B14", period((1, 501), resolution="PT60M")))


def test_pumps_and_storage_are_no_generation() -> None:
    alone = values(series("B14", period((1, 500))))
    assert alone == values(
        series("B14", period((1, 500))),
        series("B10", period((1, 900))),
        series("B10", period((1, 900)), direction="out"),
        series("B16", period((1, 3)), direction="out"),
    )
    with refusal(NAME, "no generation"):
        parse(series("B10", period((1, 900))))


def test_a_negative_quantity_is_what_a_standing_plant_draws() -> None:
    assert values(series("B14", period((1, 500))), series("B16", period((1, -7))))[0][1] == pytest.approx(NUCLEAR)


def test_types_without_a_factor_are_left_out_while_they_are_few() -> None:
    assert values(series("B14", period((1, 860))), series("B20", period((1, 140))))[0][1] == pytest.approx(NUCLEAR)
    with refusal(NAME, "enough of them a factor"):
        parse(series("B14", period((1, 840))), series("B20", period((1, 160))))


def test_it_asks_for_a_day_with_the_token(server: EngineServer) -> None:
    found = EntsoeProvider(settings(server), HTTP).fetch("FR", at(NOW_S))
    assert [entry.g_per_kwh for entry in found] == [NUCLEAR] * 4
    path, query = asked(server)
    assert path == "/api"
    assert query == {
        "securityToken": TOKEN,
        "documentType": "A75",
        "processType": "A16",
        "in_Domain": FR,
        "periodStart": "202610050100",
        "periodEnd": "202610060400",
    }


def test_without_a_token_nothing_is_asked(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="needs a token") as caught:
        EntsoeProvider(settings(server, token=None), HTTP).fetch("FR", at(NOW_S))
    assert "token_env" in caught.value.fix
    assert server.asked == []


@pytest.mark.parametrize("status", [200, 400])
def test_no_matching_data_is_said_with_either_status_and_is_worth_another_try(
    server: EngineServer, status: int
) -> None:
    server.answers[PATH] = answer(status, NO_DATA)
    with refusal(NAME, "no matching data"):
        EntsoeProvider(settings(server), HTTP).fetch("FR", at(NOW_S))


def test_another_acknowledgement_is_a_refusal_that_is_not_quoted() -> None:
    with refusal(NAME, "code '999'") as said:
        parse_generation(acknowledgement("999", f"Unauthorized. Invalid token {TOKEN}"), "FR", FR, NOW_S)
    assert TOKEN not in said[0]


def test_a_400_without_a_document_is_read_from_its_status(server: EngineServer) -> None:
    server.answers[PATH] = answer(400, b"bad request")
    with refusal(NAME, "http 400"):
        EntsoeProvider(settings(server), HTTP).fetch("FR", at(NOW_S))


@pytest.mark.parametrize(
    ("bad_series", "words"),
    [
        (series("B14", period((1, 5)), zone="10YDE-VE-------2"), ("inBiddingZone_Domain", "10YDE-VE")),
        (series("B14", period((1, 5)), unit="KWH"), ("quantity_Measure_Unit", "'KWH', not 'MAW'")),
        (series("B14", period((1, 5)), curve="A02"), ("curveType", "A02")),
        (series("", period((1, 5))), ("psrType",)),
        (series("B14", period((1, "lots"))), ("quantity", "not a number")),
        (series("B14", period((1, "NaN"))), ("quantity", "not finite")),
        (series("B14", period((1, ""))), ("quantity", "not a number")),
        (series("B14", period((0, 5))), ("position", "'0'")),
        (series("B14", period((5, 5))), ("position", "up to 4")),
        (series("B14", period((2, 5), (2, 6))), ("position", "not above 2")),
        (series("B14", period(("x", 5))), ("position", "'x'")),
        (series("B14", period()), ("Period", "no Point")),
        (series("B14", period((1, 5), resolution="P1D")), ("resolution", "P1D")),
        (series("B14", period((1, 5), start="2026-10-06T00:00")), ("start", "no time zone")),
        (series("B14", period((1, 5), end="2026-10-06T01:00+02:00")), ("end", "not in UTC")),
        (series("B14", period((1, 5), end="2026-10-06T00:20Z")), ("number of steps",)),
        (series("B14", period((1, 5), end="2026-10-05T23:00Z")), ("number of steps",)),
        (series("B14", period((1, 5), start="2026-10-07T00:00Z", end="2026-10-07T01:00Z")), ("future",)),
        (series("B14", period((1, 5), start="1000-01-01T00:00Z")), ("number of steps",)),
        (series("B14", period((1, 0))), ("enough of them a factor",)),
        ("", ("no generation",)),
    ],
)
def test_a_faulty_series_refuses_the_answer_with_its_field(bad_series: str, words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        parse(bad_series)


def test_a_small_document_that_means_millions_of_values_is_refused() -> None:
    year = period((1, 5), start="2024-01-01T00:00Z", end="2025-01-01T00:00Z")
    with refusal(NAME, "more than 100000 values"):
        parse(*(series("B14", year) for _ in range(5)))


# XML

BOMB = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
FILE = '<?xml version="1.0"?><!DOCTYPE d [<!ENTITY f SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("head", [BOMB, FILE])
def test_a_document_that_declares_entities_is_refused_unread(head: str) -> None:
    with refusal(NAME, "declares"):
        parse_generation(document(series("B14", period((1, "&b;"))), head=head), "FR", FR, NOW_S)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1"])
def test_no_encoding_hides_a_declaration(encoding: str) -> None:
    """UTF-16 without its mark, read as UTF-8, is text with zeros between: a search for <!DOCTYPE finds none."""
    text = document(series("B14", period((1, 5))), head=BOMB).decode()
    with refusal(NAME, "declares"):
        declared = text.replace('"1.0"', f'"1.0" encoding="{encoding[:6] if "16" in encoding else encoding}"')
        parse_generation(declared.encode(encoding), "FR", FR, NOW_S)


@pytest.mark.parametrize("encoding", ["utf-7", "utf-32", "cp037", "shift_jis", "rot13", "no-such-thing"])
def test_an_encoding_that_the_parser_does_not_know_is_refused(encoding: str) -> None:
    with refusal(NAME, "not XML"):
        parse_generation(document(head=f'<?xml version="1.0" encoding="{encoding}"?>'), "FR", FR, NOW_S)


@pytest.mark.parametrize(
    ("answered", "words"),
    [
        (b"", ("empty",)),
        (b"<html><body>Service unavailable", ("not XML",)),
        (b"<html/>", ("'html'", "GL_MarketDocument")),
        (b"{}", ("not XML",)),
        (b"\xff\xfe", ("not XML",)),
        (document(series("B14", period((1, 5))))[:-30], ("not XML",)),
        (b"<GL_MarketDocument/>" + b" " * 4_000_000, ("larger than 4 MB",)),
    ],
)
def test_an_answer_that_is_none_is_refused(answered: bytes, words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        parse_generation(answered, "FR", FR, NOW_S)


def test_deep_nesting_is_refused_or_read_but_never_fatal() -> None:
    with pytest.raises(ReadFailed):
        parse_generation(b"<a>" * 100_000 + b"</a>" * 100_000, "FR", FR, NOW_S)


# Areas

EIC_DIGITS = digits + ascii_uppercase + "-"


@pytest.mark.parametrize(("zone", "eic"), sorted(AREAS.items()))
def test_a_code_is_of_a_zone_that_we_know_and_its_check_character_is_right(zone: str, eic: str) -> None:
    """EIC: sixteen characters, the last of which checks the others, weighed 16 to 2, modulo 37."""
    assert zone in zones()
    assert len(eic) == 16
    weighed = sum(EIC_DIGITS.index(char) * weight for char, weight in zip(eic[:15], range(16, 1, -1), strict=True))
    assert EIC_DIGITS[36 - (weighed - 1) % 37] == eic[15]


def test_it_covers_europe_and_the_clouds_in_it() -> None:
    assert covers("France") == FR
    assert covers("gcp:europe-west9") == FR
    assert covers("DK1") == "10YDK-1--------W"
    assert covers("GB") is None  # left the platform in 2021
    assert covers("US") is None


def test_another_zone_is_unavailable_and_a_region_of_ones_own_is_asked_for(server: EngineServer) -> None:
    with pytest.raises(Unavailable, match="does not cover US"):
        EntsoeProvider(settings(server), HTTP).fetch("US", at(NOW_S))
    server.answers[PATH] = answer(body=document(series("B12", period((1, 5)), zone="10Y1001A1001A44P")))
    found = EntsoeProvider(settings(server, region="10Y1001A1001A44P"), HTTP).fetch("SE", at(NOW_S))
    assert asked(server)[1]["in_Domain"] == "10Y1001A1001A44P"
    assert (found[0].zone, found[0].g_per_kwh) == ("SE", HYDRO)
