"""The table of cloud regions against the borders of the zones, and against the rows that public tables disagree on."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from agent.grids.regions import Region, region, regions
from agent.grids.zones import UnknownZone, resolve, zones

DATA = Path(__file__).parents[2] / "data" / "grid"

# South, north, west, east in degrees: the zone's extreme points, rounded outwards. Coarse on purpose: they catch a
# region in the wrong country or state, a swapped pair and a lost sign.
BOXES = {
    "AE": (22.6, 26.2, 51.5, 56.5),
    "AT": (46.3, 49.1, 9.5, 17.2),
    "AU": (-43.8, -10.0, 112.9, 153.7),
    "BE": (49.4, 51.6, 2.5, 6.5),
    "BH": (25.5, 26.4, 50.3, 50.9),
    "BR": (-33.8, 5.3, -74.0, -34.7),
    "CA-AB": (48.9, 60.1, -120.1, -109.9),
    "CA-ON": (41.6, 56.9, -95.2, -74.3),
    "CA-QC": (44.9, 62.6, -79.8, -57.1),
    "CH": (45.8, 47.9, 5.9, 10.5),
    "CL": (-56.0, -17.4, -75.8, -66.3),
    "CN": (18.0, 53.6, 73.4, 134.8),
    "DE": (47.2, 55.1, 5.8, 15.1),
    "DK": (54.5, 57.8, 8.0, 15.2),
    "ES": (36.0, 43.8, -9.4, 3.4),
    "FI": (59.7, 70.1, 20.5, 31.6),
    "FR": (42.3, 51.1, -4.8, 8.3),
    "GB": (49.8, 60.9, -8.7, 1.8),
    "HK": (22.1, 22.6, 113.8, 114.5),
    "ID": (-11.1, 6.1, 94.9, 141.1),
    "IE": (51.4, 55.4, -10.6, -5.9),
    "IL": (29.4, 33.4, 34.2, 35.9),
    "IN": (6.7, 35.6, 68.1, 97.4),
    "IT": (36.6, 47.1, 6.6, 18.6),
    "JP": (24.0, 45.6, 122.9, 146.0),
    "KR": (33.1, 38.7, 124.6, 131.9),
    "MX": (14.5, 32.8, -118.4, -86.7),
    "MY": (0.8, 7.4, 99.6, 119.3),
    "NL": (50.7, 53.7, 3.3, 7.3),
    "NO": (57.9, 71.2, 4.5, 31.2),
    "NZ": (-47.3, -34.3, 166.4, 178.6),
    "PL": (49.0, 54.9, 14.1, 24.2),
    "QA": (24.4, 26.2, 50.7, 51.7),
    "SA": (16.3, 32.2, 34.5, 55.7),
    "SE": (55.3, 69.1, 10.9, 24.2),
    "SG": (1.1, 1.5, 103.6, 104.1),
    "TH": (5.6, 20.5, 97.3, 105.7),
    "TW": (21.8, 25.4, 119.9, 122.1),
    "US-AZ": (31.3, 37.0, -114.9, -109.0),
    "US-CA": (32.5, 42.0, -124.5, -114.1),
    "US-GA": (30.3, 35.0, -85.7, -80.8),
    "US-IA": (40.3, 43.6, -96.7, -90.1),
    "US-IL": (36.9, 42.6, -91.6, -87.0),
    "US-NV": (35.0, 42.0, -120.1, -114.0),
    "US-OH": (38.4, 42.0, -84.9, -80.5),
    "US-OK": (33.6, 37.0, -103.1, -94.4),
    "US-OR": (41.9, 46.3, -124.6, -116.4),
    "US-SC": (32.0, 35.3, -83.4, -78.5),
    "US-TX": (25.8, 36.5, -106.7, -93.5),
    "US-UT": (36.9, 42.1, -114.1, -109.0),
    "US-VA": (36.5, 39.5, -83.7, -75.2),
    "US-WA": (45.5, 49.0, -124.8, -116.9),
    "US-WY": (40.9, 45.1, -111.1, -104.0),
    "ZA": (-34.9, -22.1, 16.4, 33.0),
}


def inside(zone: str, latitude: float, longitude: float) -> bool:
    south, north, west, east = BOXES[zone]
    return south <= latitude <= north and west <= longitude <= east


def test_every_region_lies_within_the_borders_of_its_zone() -> None:
    wrong = [r.code for r in regions().values() if not inside(r.zone, r.latitude, r.longitude)]
    assert wrong == []


def test_a_swapped_pair_of_coordinates_would_be_seen() -> None:
    """So that the test above can fail: hardly a region lies in its zone with its coordinates the other way round."""
    assert [r.code for r in regions().values() if inside(r.zone, r.longitude, r.latitude)] == []


def test_every_provider_has_all_its_regions_and_every_row_its_source() -> None:
    assert Counter(r.provider for r in regions().values()) == {
        "aws": 39,
        "azure": 72,
        "gcp": 45,
        "ovh": 15,
        "scaleway": 4,
    }
    assert all(len(r.source) > 10 and r.city for r in regions().values())


def test_no_region_is_listed_twice() -> None:
    text = (Path(__file__).parents[3] / "agent" / "data" / "grid" / "regions.csv").read_text("utf-8")
    codes = [(row["provider"], row["region"]) for row in csv.DictReader(text.splitlines())]
    assert len(codes) == len(set(codes)) == len(regions())


@pytest.mark.parametrize(
    ("code", "zone"),
    [
        ("aws:us-west-2", "US-OR"),
        ("aws:eu-north-1", "SE"),
        ("azure:northcentralus", "US-IL"),
        ("azure:swedencentral", "SE"),
        ("azure:westus", "US-CA"),
        ("gcp:me-central1", "QA"),
        ("gcp:us-central1", "US-IA"),
        ("gcp:us-east1", "US-SC"),
        ("gcp:us-west1", "US-OR"),
        ("azure:northeurope", "IE"),
        ("gcp:europe-west1", "BE"),
        ("gcp:europe-north1", "FI"),
    ],
)
def test_where_public_tables_disagree_the_place_decides_and_the_row_or_the_readme_says_so(code: str, zone: str) -> None:
    assert regions()[code].zone == zone
    if code not in ("gcp:europe-west1", "gcp:europe-north1"):
        assert "public table" in regions()[code].source
        readme = (Path(__file__).parents[3] / "agent" / "data" / "grid" / "README.md").read_text("utf-8")
        assert code.replace(":", " ") in readme


def test_microsofts_own_coordinates_lie_in_the_same_zones() -> None:
    """As carbon-aware-sdk has them. Three of its rows are known to be wrong: it puts Madrid into the sea, Cheyenne
    near Salt Lake City's longitude and israelcentral into the Sinai."""
    wrong = {"spaincentral", "israelcentral", "westcentralus"}
    found = json.loads((DATA / "azure_regions_latlon.json").read_text("utf-8"))
    outside = {
        name
        for name, where in found.items()
        if (known := region("azure", name)) is not None
        and not inside(known.zone, float(where["Latitude"]), float(where["Longitude"]))
    }
    assert outside == wrong
    assert sum(region("azure", name) is not None for name in found) > 45


def test_googles_own_list_is_in_the_table() -> None:
    rows = csv.DictReader((DATA / "gcp_region_carbon_2024.csv").read_text("utf-8").splitlines())
    assert [row["Google Cloud Region"] for row in rows if region("gcp", row["Google Cloud Region"]) is None] == []


@pytest.mark.parametrize(
    ("provider", "text", "code"),
    [
        ("aws", " us-east-1\n", "aws:us-east-1"),
        ("azure", "West Europe", "azure:westeurope"),
        ("azure", "westeurope", "azure:westeurope"),
        ("gcp", "US-Central1", "gcp:us-central1"),
    ],
)
def test_a_region_is_known_as_its_provider_writes_it(provider: str, text: str, code: str) -> None:
    found = region(provider, text)
    assert found is not None
    assert found.code == code


@pytest.mark.parametrize(
    ("provider", "text"), [("aws", "us-central1"), ("gcp", ""), ("aws", "FR"), ("azure", "x" * 999)]
)
def test_what_is_no_region_of_that_provider_is_nothing(provider: str, text: str) -> None:
    assert region(provider, text) is None


def test_a_region_is_a_zone_by_its_own_name_but_for_three_letters() -> None:
    assert resolve("nl-ams").code == "scaleway:nl-ams"
    assert resolve("ovh:gra").place == "FR"
    assert resolve("SGP").code == "SG", "Singapore, and not OVHcloud's data centre there"
    with pytest.raises(UnknownZone):
        resolve("gra")


def test_no_two_providers_write_a_region_alike() -> None:
    spelt = Counter(text for r in regions().values() for text in r.spellings)
    assert [text for text, times in spelt.items() if times > 1] == []


def test_regions_and_zones_agree() -> None:
    for code, found in regions().items():
        assert isinstance(found, Region)
        assert zones()[code].place == found.zone
