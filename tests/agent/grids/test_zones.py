"""Which place a text means."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Unavailable
from agent.grids.zones import UnknownZone, ZoneKind, resolve, zones

DATA = Path(__file__).parents[2] / "data" / "grid"


@pytest.mark.parametrize("text", ["FR", "fr", "FRA", "fra", "France", "FRANCE", " france "])
def test_france_by_any_name(text: str) -> None:
    assert resolve(text).code == "FR"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("UK", "GB"),
        ("United Kingdom", "GB"),
        ("Great Britain", "GB"),
        ("USA", "US"),
        ("United States of America", "US"),
        ("Deutschland", "DE"),
        ("Czech Republic", "CZ"),
        ("South Korea", "KR"),
        ("Côte d’Ivoire", "CI"),
        ("Cote d'Ivoire", "CI"),
        ("Turkey", "TR"),
        ("XKX", "XK"),
        ("California", "US-CA"),
        ("us-ca", "US-CA"),
        ("US_CA", "US-CA"),
        ("new york", "US-NY"),
        ("Québec", "CA-QC"),
        ("Quebec", "CA-QC"),
        ("QUEBEC", "CA-QC"),
        ("europe-west1", "gcp:europe-west1"),
        ("GCP:europe-west1", "gcp:europe-west1"),
        ("eu-west-3", "aws:eu-west-3"),
        ("westeurope", "azure:westeurope"),
        # One hyphen apart, two providers, two continents' worth of carbon.
        ("us-west1", "gcp:us-west1"),
        ("us-west-1", "aws:us-west-1"),
        ("DK1", "DK-DK1"),
        ("dk-dk2", "DK-DK2"),
        ("me-central1", "gcp:me-central1"),
        ("me-central-1", "aws:me-central-1"),
    ],
)
def test_common_names_and_codes(text: str, code: str) -> None:
    assert resolve(text).code == code


@pytest.mark.parametrize(
    ("text", "country"),
    [("CA", "Canada"), ("DE", "Germany"), ("IN", "India"), ("GA", "Gabon"), ("AL", "Albania"), ("CO", "Colombia")],
)
def test_two_letters_are_a_country_and_never_a_us_state(text: str, country: str) -> None:
    found = resolve(text)
    assert (found.kind, found.name) == (ZoneKind.COUNTRY, country)


@pytest.mark.parametrize(
    ("text", "meant"), [("TX", "US-TX"), ("QC", "CA-QC"), ("Frnace", "FR"), ("us-east-9", "aws:us-east-1")]
)
def test_an_unknown_zone_names_what_may_have_been_meant(text: str, meant: str) -> None:
    with pytest.raises(UnknownZone) as caught:
        resolve(text)
    assert meant in [zone.code for zone in caught.value.near]
    assert meant in caught.value.fix


@pytest.mark.parametrize(
    "text", ["world", "WORLD", "global", "", "   ", "auto", "Atlantis", "US-XX", "EU", "x" * 10_000]
)
def test_there_is_no_zone_for_the_world_or_for_nonsense(text: str) -> None:
    with pytest.raises(UnknownZone) as caught:
        resolve(text)
    assert caught.value.fix
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "codes"), [("Georgia", {"GE", "US-GA"}), ("Congo", {"CG", "CD"}), ("Korea", {"KR", "KP"})]
)
def test_a_name_of_two_places_is_refused_with_both(text: str, codes: set[str]) -> None:
    with pytest.raises(UnknownZone, match="more than one") as caught:
        resolve(text)
    assert {zone.code for zone in caught.value.near} == codes


def test_a_price_area_is_a_part_of_a_country_and_the_country_stays_itself() -> None:
    assert (resolve("DK-DK1").kind, resolve("DK-DK1").place) == (ZoneKind.AREA, "DK")
    assert resolve("DK").kind is ZoneKind.COUNTRY


def test_every_code_means_itself() -> None:
    for code, zone in zones().items():
        assert resolve(code) == zone
        assert resolve(code.lower()) == zone


def test_every_name_means_its_zone_or_is_refused_as_ambiguous() -> None:
    for zone in zones().values():
        if zone.kind is ZoneKind.CLOUD:
            continue
        try:
            assert resolve(zone.name) == zone
        except UnknownZone as ambiguous:
            assert zone in ambiguous.near


def test_a_cloud_region_stands_in_a_zone_that_exists() -> None:
    clouds = [zone for zone in zones().values() if zone.kind is ZoneKind.CLOUD]
    assert len(clouds) > 130
    for zone in clouds:
        assert zones()[zone.place].kind is not ZoneKind.CLOUD


def test_alpha_3_codes_are_those_of_the_energy_mix_data() -> None:
    spec = find_spec("codecarbon")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    mix = Path(spec.submodule_search_locations[0], "data/private_infra/global_energy_mix.json")
    for alpha3, row in json.loads(mix.read_text("utf-8")).items():
        if alpha3 == "XKX":
            continue
        by_code = resolve(alpha3)
        try:
            assert resolve(row["country_name"]) == by_code
        except UnknownZone as ambiguous:
            assert by_code in ambiguous.near


def test_every_public_azure_region_is_known() -> None:
    regions = json.loads((DATA / "azure_regions_latlon.json").read_text("utf-8"))
    hidden = {"eastus2euap", "centraluseuap", "eastusstg", "brazilus"}  # canaries and staging, not open to customers
    assert {name for name in regions if f"azure:{name}" not in zones()} == hidden


def test_us_and_canadian_azure_regions_lie_where_the_table_says() -> None:
    """A box around each state, a little wide where Microsoft rounds. The public tables disagree about westus."""
    boxes = {
        "US-CA": (32.5, 42.0, -124.5, -114.0),
        "US-WA": (45.5, 49.0, -124.8, -116.9),
        "US-TX": (25.8, 36.5, -106.7, -93.5),
        "US-AZ": (31.3, 37.0, -114.9, -109.0),
        "US-IL": (36.9, 42.6, -91.6, -87.0),
        "US-IA": (40.3, 43.6, -96.7, -90.1),
        "US-WY": (40.8, 45.1, -111.1, -104.0),
        "US-VA": (36.5, 39.5, -83.7, -75.2),
        "CA-ON": (41.6, 56.9, -95.2, -74.3),
        "CA-QC": (44.9, 62.6, -79.8, -57.1),
        "NL": (50.7, 53.7, 3.3, 7.3),
        "IE": (51.4, 55.4, -10.6, -5.9),
    }
    regions = json.loads((DATA / "azure_regions_latlon.json").read_text("utf-8"))
    checked = 0
    for name, where in regions.items():
        zone = zones().get(f"azure:{name}")
        if zone is None or zone.place not in boxes:
            continue
        south, north, west, east = boxes[zone.place]
        assert south <= float(where["Latitude"]) <= north, (name, zone.place)
        assert west <= float(where["Longitude"]) <= east, (name, zone.place)
        checked += 1
    assert checked >= 10


@given(st.text(max_size=80))
def test_any_text_means_one_zone_or_says_that_it_does_not(text: str) -> None:
    try:
        zone = resolve(text)
    except Unavailable:
        return
    assert zones()[zone.code] == zone
