"""Which provider a configuration gives, and what the fixed one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.grids.fixed import FixedProvider
from agent.grids.table import AUTO, LIVE, PROVIDERS, choose, live, marginal
from agent.grids.yearly import YearlyTable
from agent.grids.zones import zones
from agent.model import GridIntensity, Instant
from agent.settings import GridSettings, ProviderSettings, Secret

NOW = Instant(5.0, 1_790_000_000.0)


def test_nothing_configured_gives_no_provider() -> None:
    assert choose(GridSettings()) is None


def test_a_zone_gives_the_table() -> None:
    assert isinstance(choose(GridSettings(zone="France")), YearlyTable)


def test_a_fixed_factor_comes_before_the_table() -> None:
    provider = choose(GridSettings(zone="FR", fixed_g_per_kwh=12.0))
    assert provider is not None
    assert [one.g_per_kwh for one in provider.fetch("FR", NOW)] == [12.0]


def test_the_list_of_providers_decides_the_order() -> None:
    settings = GridSettings(zone="FR", fixed_g_per_kwh=12.0, providers=("table", "fixed"))
    assert isinstance(choose(settings), YearlyTable)


@pytest.mark.parametrize("zone", ["Monaco", "Atlantis"])
def test_a_zone_without_a_figure_leaves_the_turn_to_the_next_provider(zone: str) -> None:
    settings = GridSettings(zone=zone, fixed_g_per_kwh=12.0, providers=("table", "fixed"))
    assert isinstance(choose(settings), FixedProvider)
    assert choose(GridSettings(zone=zone)) is None


@pytest.mark.parametrize(
    ("zone", "label"), [("", "fixed"), ("France", "FR"), ("my own solar roof", "my own solar roof")]
)
def test_a_fixed_factor_takes_any_zone_as_its_label(zone: str, label: str) -> None:
    (found,) = FixedProvider(310.0).fetch(zone, NOW)
    assert found == GridIntensity(
        zone=label, g_per_kwh=310.0, provider="fixed", kind="fixed", source="the configuration, grid.fixed_g_per_kwh"
    )


def test_a_factor_of_zero_is_a_factor_and_not_a_missing_one() -> None:
    assert isinstance(choose(GridSettings(fixed_g_per_kwh=0.0)), FixedProvider)


def test_every_provider_has_its_name_and_says_its_licence() -> None:
    for name, kind in PROVIDERS.items():
        provider = kind.build(GridSettings(zone="FR", fixed_g_per_kwh=1.0))
        assert provider is not None
        assert provider.name == name == kind.name
        assert kind.licence
        assert kind.about
        (found,) = provider.fetch("FR", NOW)
        assert found.provider == name


def keyed(name: str) -> dict[str, ProviderSettings]:
    """A provider's table with everything that it may ask for."""
    secret = Secret("s3cret", "env KEY")
    return {name: ProviderSettings("http://127.0.0.1:9", token=secret, user="u", password=secret, path=Path("/x"))}


def auto(zone: str | None, tables: dict[str, ProviderSettings] | None = None, fixed: float | None = None) -> str | None:
    kind = live(GridSettings(zone=zone, fixed_g_per_kwh=fixed, tables=tables or {}))
    return None if kind is None else kind.name


@pytest.mark.parametrize(
    ("zone", "source"),
    [
        ("GB", "neso"),
        ("aws:eu-west-2", "neso"),
        ("DK", "energy_charts"),  # two price areas: Energinet tells of each, not of the country
        ("DK-DK1", "energinet"),
        ("US-CA", "caiso"),
        ("azure:westus", "caiso"),
        ("FR", "rte"),
        ("gcp:europe-west9", "rte"),
        ("ovh:gra", "rte"),
        ("DE", "energy_charts"),
        ("scaleway:nl-ams", "energy_charts"),
        ("US-TX", None),
        ("CA-QC", None),
        ("IN", None),
        ("Atlantis", None),
        (None, None),
    ],
)
def test_auto_takes_the_free_source_of_the_zone_where_there_is_one(zone: str | None, source: str | None) -> None:
    assert auto(zone) == source


def test_auto_calls_nobody_that_asks_for_a_key_or_an_account_without_one() -> None:
    for zone in zones():
        name = auto(zone)
        assert name is None or LIVE[name].asks == (), (zone, name)


@pytest.mark.parametrize(
    ("zone", "name", "source"),
    [
        ("DE", "electricity_maps", "electricity_maps"),
        ("FR", "entsoe", "entsoe"),
        ("US-TX", "entsoe", None),
        ("US-TX", "eia", "eia"),
        ("US-CA", "eia", "caiso"),
        ("FR", "file", "file"),
        ("IN", "joulecar", "joulecar"),
        ("US-CA", "watttime", "caiso"),
        ("IN", "watttime", None),
    ],
)
def test_auto_prefers_what_is_configured_but_for_what_is_a_day_late_or_marginal(
    zone: str, name: str, source: str | None
) -> None:
    assert auto(zone, keyed(name)) == source


def test_auto_takes_a_source_whose_region_is_written_down_for_any_zone() -> None:
    assert auto("US-TX", {"caiso": ProviderSettings(region="CAISO")}) == "caiso"


@pytest.mark.parametrize("name", LIVE)
def test_with_a_factor_of_your_own_auto_asks_nobody(name: str) -> None:
    assert auto("FR", keyed(name), fixed=50.0) is None


def test_a_list_without_a_live_source_asks_nobody() -> None:
    settings = GridSettings(zone="FR", providers=("table",), tables=keyed("electricity_maps"))
    assert (live(settings), marginal(settings)) == (None, None)


def test_average_and_marginal_are_two_accounts_whatever_their_order_in_the_list() -> None:
    for providers in (("watttime", "caiso"), ("caiso", "watttime")):
        settings = GridSettings(zone="US-CA", providers=providers, tables=keyed("watttime"))
        assert (live(settings), marginal(settings)) == (LIVE["caiso"], LIVE["watttime"])
    alone = GridSettings(zone="US-CA", providers=("watttime",), tables=keyed("watttime"))
    assert (live(alone), marginal(alone)) == (None, LIVE["watttime"])
    assert marginal(GridSettings(zone="US-CA", tables=keyed("watttime"))) is LIVE["watttime"]
    assert marginal(GridSettings(zone="US-CA")) is None


def test_auto_knows_every_source_of_averages() -> None:
    assert set(AUTO) == {name for name, kind in LIVE.items() if kind.signal != "marginal"}
