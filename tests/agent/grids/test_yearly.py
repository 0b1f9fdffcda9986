"""The yearly table against the files it is made from, and against the known faults of those files."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from agent.errors import Unavailable
from agent.grids.yearly import (
    YearlyTable,
    canadian_provinces,
    countries,
    figure_for,
    google_regions,
    read_canadian_provinces,
    read_countries,
    read_google_regions,
    read_us_states,
    us_states,
)
from agent.grids.zones import ZoneKind, resolve, zones
from agent.model import GridIntensity, Instant

DATA = Path(__file__).parents[2] / "data" / "grid"
NOW = Instant(0.0, 1_790_000_000.0)


def fetch(zone: str) -> GridIntensity:
    (intensity,) = YearlyTable().fetch(zone, NOW)
    return intensity


def codecarbon(name: str) -> Path:
    spec = find_spec("codecarbon")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], "data", name)


def test_every_country_has_the_value_and_the_year_of_the_source_file() -> None:
    rows: list[dict[str, Any]] = json.loads((DATA / "ember_country_yearly.json").read_text("utf-8"))["countries"]
    assert len(rows) == 213
    for row in rows:
        code = row["name"].upper()
        found = fetch(code)
        assert (found.zone, found.g_per_kwh) == (code, row["co2g_kwh"])
        assert f"{code} {row['year']}: " in found.source
        assert (found.provider, found.signal, found.basis, found.kind) == ("table", "average", "lifecycle", "yearly")
    assert len(countries()) == 213


def test_a_yearly_figure_is_a_constant_with_its_dataset_and_licence() -> None:
    found = fetch("France")
    assert (found.valid_from_s, found.valid_to_s, found.fetched_at_s) == (-math.inf, math.inf, None)
    assert "Ember (2026); Energy Institute; Our World in Data" in found.source
    assert "CC BY 4.0" in found.source


def test_us_states_are_pounds_per_megawatt_hour_in_the_file_and_grams_per_kilowatt_hour_here() -> None:
    rows = json.loads(codecarbon("private_infra/2023/usa_emissions.json").read_text("utf-8"))
    states = {name: row for name, row in rows.items() if not name.startswith("_") and name != "usa"}
    assert len(states) == 51
    for name, row in states.items():
        found = fetch(f"US-{row['regionCode']}")
        assert found.g_per_kwh == pytest.approx(row["emissions"] * 453.59237 / 1000)
        assert found.basis == "direct"
        if name != "georgia":  # a country, too
            assert fetch(name) == found
    assert fetch("US-CA").g_per_kwh == pytest.approx(179.06, abs=0.01)
    assert len(us_states()) == 51


def test_the_national_row_of_the_states_file_is_not_a_state() -> None:
    assert "US-usa" not in us_states()
    assert fetch("USA").basis == "lifecycle"  # Ember's


def test_google_regions_have_the_values_of_2024() -> None:
    text = (DATA / "gcp_region_carbon_2024.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == len(google_regions()) == 44
    for row in rows:
        found = fetch(row["Google Cloud Region"])
        assert found.zone == "gcp:" + row["Google Cloud Region"]
        assert found.g_per_kwh == float(row["Grid carbon intensity (gCO2eq / kWh)"])
        assert (found.basis, found.kind) == ("direct", "yearly")
        assert "2024" in found.source


def test_every_google_region_of_codecarbon_is_known_with_its_spelling_corrected() -> None:
    text = codecarbon("cloud/impact.csv").read_text("utf-8-sig")
    regions = [row["region"].replace("cenrtal", "central") for row in csv.DictReader(text.splitlines())]
    assert len(regions) >= 40
    for region in regions:
        assert fetch(region).zone == f"gcp:{region}"


def test_doha_is_not_the_world_average() -> None:
    assert fetch("me-central1").g_per_kwh == 366.0


def test_quebec_counts_its_hydro_power_and_is_the_same_with_and_without_the_accent() -> None:
    plain, accented = fetch("Quebec"), fetch("Québec")
    assert plain == accented
    # By hand: hydro 92.1 x 26, wind 6.7 x 26, biomass 0.7 x 230, oil 0.3 x 816, gas 0.2 x 743, solar 0.01 x 48.
    by_hand = (92.1 * 26 + 6.7 * 26 + 0.7 * 230 + 0.3 * 816 + 0.2 * 743 + 0.01 * 48) / 100.01
    assert plain.g_per_kwh == pytest.approx(by_hand)
    assert plain.basis == "lifecycle"


def test_every_canadian_province_has_a_figure_between_hydro_and_coal() -> None:
    assert len(canadian_provinces()) == 13
    for code, figure in canadian_provinces().items():
        assert resolve(code).kind is ZoneKind.SUBDIVISION
        assert 24.0 <= figure.g_per_kwh <= 1000.0, code
    assert canadian_provinces()["CA-AB"].g_per_kwh > 10 * canadian_provinces()["CA-QC"].g_per_kwh


def test_the_central_african_republic_is_not_free_of_carbon() -> None:
    assert fetch("CAF").g_per_kwh == 111.11


@pytest.mark.parametrize("nothing", [0.0, 0, None, -1.0, math.nan, math.inf])
def test_a_table_that_says_nothing_of_a_place_gives_no_figure(nothing: float | None) -> None:
    head = {"attribution": "a", "license": "CC BY 4.0 https://x"}
    assert set(read_countries({**head, "countries": {"CF": [nothing, 2022], "FR": [41.0, 2025]}})) == {"FR"}
    states = {
        "_unit": {"emissions": "lbs/MWh"},
        "_source": {"field": "STC2ERTA", "year": 2023},
        "ohio": {"emissions": nothing, "regionCode": "OH"},
        "iowa": {"emissions": 600.0, "regionCode": "IA"},
    }
    assert set(read_us_states(states)) == {"US-IA"}


@pytest.mark.parametrize("cell", ["", "0", "nan", "-3"])
def test_an_empty_cell_of_googles_file_is_no_figure(cell: str) -> None:
    header = "Google Cloud Region,Location,Google CFE,Grid carbon intensity (gCO2eq / kWh)"
    assert set(read_google_regions(f"{header}\na1,A,0.5,{cell}\nb1,B,0.5,12\n")) == {"gcp:b1"}


def test_states_in_another_unit_are_refused() -> None:
    with pytest.raises(Unavailable, match="kg/MWh"):
        read_us_states({"_unit": {"emissions": "kg/MWh"}, "_source": {"field": "x", "year": 2024}})


def test_a_province_whose_mix_is_mostly_unknown_has_no_figure() -> None:
    sources = ("coal", "petroleum", "naturalGas", "biomass", "nuclear", "hydro", "solar", "wind")
    factors = dict.fromkeys(
        ("coal", "petroleum", "natural_gas", "biomass", "nuclear", "hydroelectricity", "solar", "wind"), 50
    )
    mixes = {
        "yukon": {**dict.fromkeys(sources, 0.0), "hydro": 60.0, "other": 40.0},
        "ontario": {**dict.fromkeys(sources, 0.0), "hydro": 96.0, "other": 4.0},
    }
    found = read_canadian_provinces(mixes, factors)
    assert {code: figure.g_per_kwh for code, figure in found.items()} == {"CA-ON": 50.0}


def test_no_zone_has_a_figure_of_zero() -> None:
    for zone in zones().values():
        try:
            assert figure_for(zone).g_per_kwh > 0, zone
        except Unavailable:
            continue


@pytest.mark.parametrize("text", ["Liechtenstein", "Monaco", "VA"])
def test_a_zone_without_a_figure_is_unavailable_by_name(text: str) -> None:
    zone = resolve(text)
    with pytest.raises(Unavailable) as caught:
        fetch(text)
    assert str(zone) in caught.value.reason
    assert "grid.fixed_g_per_kwh" in caught.value.fix


def test_an_unknown_zone_is_unavailable_and_not_the_average_of_the_world() -> None:
    with pytest.raises(Unavailable, match="not a zone"):
        fetch("Atlantis")


@pytest.mark.parametrize(
    ("region", "place"), [("eu-west-3", "FR"), ("us-east-1", "US-VA"), ("ca-central-1", "CA-QC"), ("westeurope", "NL")]
)
def test_aws_and_azure_regions_have_the_figure_of_their_place_and_say_so(region: str, place: str) -> None:
    cloud, around = fetch(region), fetch(place)
    assert cloud.zone.endswith(":" + region)
    assert (cloud.g_per_kwh, cloud.basis) == (around.g_per_kwh, around.basis)
    assert cloud.source.startswith(place + " ")


def test_every_cloud_region_has_a_figure() -> None:
    for zone in zones().values():
        if zone.kind is ZoneKind.CLOUD:
            assert fetch(zone.code).g_per_kwh > 0


def test_neither_codecarbon_nor_pandas_is_imported_for_it() -> None:
    code = (
        "import sys; from agent.grids.yearly import YearlyTable; from agent.model import Instant\n"
        "for zone in ('FR', 'US-CA', 'CA-QC', 'europe-west1'): YearlyTable().fetch(zone, Instant(0, 0))\n"
        "print(sorted({'codecarbon', 'pandas', 'numpy', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_price_area_has_the_yearly_figure_of_its_country() -> None:
    assert fetch("DK-DK1").g_per_kwh == fetch("DK").g_per_kwh
    assert fetch("DK-DK1").zone == "DK-DK1"
    assert fetch("DK-DK1").source.startswith("DK ")
