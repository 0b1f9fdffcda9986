"""The zone is known at the start, or found beside the measuring; without one there are no grams, and it says so."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import pytest

from agent.config import parse
from agent.grids.feed import Feed, Pace
from agent.grids.place import FIRST_RETRY_S, LONGEST_RETRY_S, Place, Told, located, look, may_look
from agent.health import Health
from agent.model import GridIntensity, Instant, Located, Part, PartHealth
from agent.settings import GridSettings, Settings
from tests.fakes.clock import FakeClock
from tests.fakes.metadata import aws, serving

AWS = Located("aws:eu-west-3", "aws", "aws metadata says eu-west-3")
NOTHING = Located(detail="aws metadata says 'nova', no region that the table knows")


class Source:
    """A live source that says 50 g, average or marginal."""

    def __init__(self, signal: str = "average") -> None:
        self.name = signal
        self.zones: list[str] = []

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        self.zones.append(zone)
        hour_s = now.wall_s - now.wall_s % 3600
        return [GridIntensity(zone, 50.0, self.name, self.name, "direct", "actual", hour_s, hour_s + 3600, now.wall_s)]


class Ground:
    """A place, what it asked, and a clock that a test moves."""

    def __init__(self, grid: GridSettings, *answers: Located, live: bool = False, figure: bool = True) -> None:
        self.clock = FakeClock()
        self.health = Health()
        self.source, self.marginal = Source(), Source("marginal")
        self.answers = list(answers)
        self.looked = 0
        self.live, self.figure = live, figure
        self.place = Place(Settings(grid=grid), self.build, self.look, self.clock, self.health)

    def look(self) -> Located:
        self.looked += 1
        return self.answers.pop(0) if self.answers else Located()

    def build(self, settings: Settings) -> Told:
        zone = settings.grid.zone
        if zone is None:
            return Told()
        yearly = GridIntensity(zone, 300.0, "table", kind="yearly") if self.figure else None
        return Told(yearly, *(self._feed(s, zone) for s in (self.source, self.marginal))) if self.live else Told(yearly)

    def _feed(self, source: Source, zone: str) -> Feed:
        return Feed(source, zone, None, Pace(300.0, lambda: 0.0), self.clock, self.health)

    def known(self) -> list[tuple[str, float]]:
        return [(i.zone, i.g_per_kwh) for i in self.place.known(self.clock.now())]

    def part(self) -> PartHealth | None:
        return next((p for p in self.health.states() if (p.part, p.name) == (Part.GRID, "zone")), None)


def test_a_zone_that_was_written_down_is_there_at_once_and_nobody_is_asked_for_it() -> None:
    ground = Ground(GridSettings(zone="France"))
    assert ground.known() == [("France", 300.0)]
    assert ground.place.located == Located("FR", "config")
    assert ground.place.steps() == {}
    assert ground.looked == 0
    assert ground.part() is None


def test_the_zone_is_not_looked_for_before_the_threads_first_step() -> None:
    ground = Ground(GridSettings(), AWS)
    assert (ground.looked, ground.known(), ground.place.located) == (0, [], Located())
    assert ground.part() is None, "nothing is wrong yet"
    assert set(ground.place.steps()) == {"grid"}
    ground.place.steps()["grid"]()
    assert ground.known() == [("aws:eu-west-3", 300.0)]
    assert ground.place.located == AWS
    assert (part := ground.part()) is not None
    assert (part.up, part.message) == (True, "aws:eu-west-3: aws metadata says eu-west-3")
    ground.clock.advance(1e6)
    ground.place.step()
    assert ground.looked == 1, "what is found is not looked for again"


def test_a_zone_that_was_found_has_its_live_source_asked_in_the_same_step() -> None:
    ground = Ground(GridSettings(), AWS, live=True)
    ground.place.step()
    assert ground.source.zones == ["aws:eu-west-3"]
    assert ("aws:eu-west-3", 50.0) in ground.known()
    assert [i.g_per_kwh for i in ground.place.final()] == [50.0]


def test_average_and_marginal_are_asked_by_threads_of_their_own() -> None:
    ground = Ground(GridSettings(zone="FR"), live=True)
    assert set(ground.place.steps()) == {"grid", "marginal"}
    ground.place.step()
    assert (ground.source.zones, ground.marginal.zones) == (["FR"], [])
    ground.place.step_marginal()
    assert ground.marginal.zones == ["FR"]
    assert {i.signal for i in ground.place.known(ground.clock.now())} == {"average", "marginal"}


def test_a_marginal_account_has_its_thread_also_while_the_zone_is_looked_for() -> None:
    ground = Ground(GridSettings(providers=("rte", "watttime")), AWS, live=True)
    assert set(ground.place.steps()) == {"grid", "marginal"}
    ground.place.step_marginal()
    assert ground.marginal.zones == []
    ground.place.step()
    ground.place.step_marginal()
    assert ground.marginal.zones == ["aws:eu-west-3"]


def test_nothing_found_says_what_to_set_and_what_was_seen() -> None:
    ground = Ground(GridSettings(), NOTHING)
    ground.place.step()
    assert ground.known() == []
    assert ground.place.located == NOTHING
    assert (part := ground.part()) is not None
    assert not part.up
    assert part.message == f"no zone configured or found: no grams ({NOTHING.detail})"
    assert part.fix.startswith('set zone = "DE"')


def test_who_answered_nothing_is_asked_again_less_and_less_often() -> None:
    """The network may come up after the agent."""
    ground = Ground(GridSettings())
    moments: list[float] = []
    start_s = ground.clock.now().mono_s
    for _ in range(24 * 720):  # a day, every 5 s
        before = ground.looked
        ground.place.step()
        if ground.looked > before:
            moments.append(ground.clock.now().mono_s - start_s)
        ground.clock.advance(5.0)
    waits = [b - a for a, b in itertools.pairwise(moments)]
    assert waits[0] == FIRST_RETRY_S
    assert waits[:6] == [FIRST_RETRY_S * 2**n for n in range(6)]
    assert waits[-1] == LONGEST_RETRY_S
    assert len(moments) < 32


def test_a_zone_that_is_found_later_heals_the_part() -> None:
    ground = Ground(GridSettings(), NOTHING, AWS)
    ground.place.step()
    ground.clock.advance(FIRST_RETRY_S)
    ground.place.step()
    assert ground.known() == [("aws:eu-west-3", 300.0)]
    assert (part := ground.part()) is not None
    assert part.up


@pytest.mark.parametrize("grid", [GridSettings(metadata_url=""), GridSettings(metadata_url="", found_detail="seen")])
def test_with_nobody_to_ask_it_is_said_at_the_start(grid: GridSettings) -> None:
    ground = Ground(grid)
    assert ground.place.steps() == {}
    assert (part := ground.part()) is not None
    assert not part.up
    assert grid.found_detail in part.message


def test_a_zone_without_a_figure_is_said_to_be_one_and_not_to_be_missing() -> None:
    ground = Ground(GridSettings(), Located("MC", "geoip", "x"), figure=False)
    ground.place.step()
    assert (part := ground.part()) is not None
    assert part.message == "no carbon intensity is known for MC: no grams"
    assert "neighbour" in part.fix


@pytest.mark.parametrize(
    ("grid", "looks"),
    [
        (GridSettings(), True),
        (GridSettings(zone="FR"), False),
        (GridSettings(metadata_url=""), False),
        (GridSettings(metadata_url="", geoip_url="http://127.0.0.1:9"), True),
        (GridSettings(fixed_g_per_kwh=9.0), False),
        (GridSettings(fixed_g_per_kwh=9.0, providers=("fixed",)), False),
        (GridSettings(fixed_g_per_kwh=9.0, providers=("table", "fixed")), True),
    ],
)
def test_nobody_is_asked_for_a_zone_that_is_known_or_of_no_use(grid: GridSettings, looks: bool) -> None:
    assert may_look(grid) is looks


@pytest.mark.parametrize(
    ("grid", "where"),
    [
        (GridSettings(zone="Deutschland"), Located("DE", "config")),
        (GridSettings(zone="my own roof", fixed_g_per_kwh=9.0), Located("my own roof", "config")),
        (GridSettings(zone="aws:us-east-1", found="env", found_detail="x"), Located("aws:us-east-1", "env", "x")),
        (GridSettings(found_detail="rack-7"), Located("", "unknown", "rack-7")),
    ],
)
def test_what_the_settings_know_of_the_zone(grid: GridSettings, where: Located) -> None:
    assert located(grid) == where


def test_geo_ip_is_the_last_to_be_asked_and_only_if_the_cloud_says_nothing() -> None:
    with serving(aws("eu-west-3")) as cloud, serving(aws("x")) as stranger:
        stranger.answers = {("GET", "/country"): (200, {}, "DE")}
        env = {"JOULECAR_METADATA": cloud.url}
        text = f'[grid]\ngeoip = true\ngeoip_url = "{stranger.url}/country"\n'
        grid = parse(text, env=env).grid
        assert look(grid, FakeClock()).zone == "aws:eu-west-3"
        assert stranger.asked == []
        cloud.answers = {}
        assert look(grid, FakeClock()) == Located(
            "DE", "geoip", "the country that this machine's address seems to be in"
        )
        off = replace(grid, geoip_url="")
        assert look(off, FakeClock()) == Located()
