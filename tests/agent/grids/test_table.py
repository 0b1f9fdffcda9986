"""Which provider a configuration gives, and what the fixed one says."""

from __future__ import annotations

import pytest

from agent.grids.fixed import FixedProvider
from agent.grids.table import PROVIDERS, choose
from agent.grids.yearly import YearlyTable
from agent.model import GridIntensity, Instant
from agent.settings import GridSettings

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
