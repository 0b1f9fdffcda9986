"""A live source is asked politely, and what it does not say stands on a named rung."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.carbon import in_force
from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.grids.feed import LONGEST_RETRY_S, Feed, Pace
from agent.grids.history import Rung
from agent.grids.keep import Keep
from agent.health import Health
from agent.model import GridIntensity, Instant, Snapshot
from exporters.families.carbon import grid_age
from tests.fakes.clock import FakeClock

HOUR_S = 3600.0
START_S = 1_790_000_000.0 - 1_790_000_000.0 % HOUR_S
YEARLY = GridIntensity("X", 300.0, "table", kind="yearly")


class Source:
    """Says one value per hour, 100 g more each hour; fails where it is told to."""

    name = "source"

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.failing: JoulecarError | None = None
        self.more: list[GridIntensity] = []  # said besides
        self.signal = "average"
        self.last = YEARLY

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        self.asked.append(now.mono_s)
        if self.failing is not None:
            raise self.failing
        hour_s = now.wall_s - now.wall_s % HOUR_S
        value = 100.0 + (hour_s - START_S) / HOUR_S
        running = said(0, value)
        self.last = replace(running, valid_from_s=hour_s, valid_to_s=hour_s + HOUR_S)
        told = [*self.more, self.last]
        return [replace(entry, zone=zone, signal=self.signal, fetched_at_s=now.wall_s) for entry in told]


def said(hour: int, g_per_kwh: float, kind: str = "actual") -> GridIntensity:
    """Of an hour after the start, or before it."""
    from_s = START_S + hour * HOUR_S
    return GridIntensity("X", g_per_kwh, Source.name, kind=kind, valid_from_s=from_s, valid_to_s=from_s + HOUR_S)


class Ground:
    """A feed, its source and a clock that a test moves."""

    def __init__(
        self,
        figure: GridIntensity | None = YEARLY,
        *,
        keep: Keep | None = None,
        wall_s: float = START_S,
        signal: str | None = None,
    ) -> None:
        self.clock = FakeClock(mono_s=0.0, wall_s=wall_s)
        self.source, self.health = Source(), Health()
        pace = Pace(300.0, lambda: 0.0)
        self.feed = Feed(self.source, "X", figure, pace, self.clock, self.health, keep, signal)

    def go_on(self, seconds: float, *, beat_s: float = 5.0) -> None:
        end_s = self.clock.now().mono_s + seconds
        while self.clock.now().mono_s < end_s:
            self.feed.step()
            self.clock.advance(beat_s)

    def now(self) -> GridIntensity | None:
        at = self.clock.now()
        return in_force(self.feed.known(at), at.wall_s)


def test_before_the_first_answer_the_figure_stands_in() -> None:
    ground = Ground()
    assert ground.now() == YEARLY
    assert Ground(None).now() is None


def test_it_is_asked_in_its_own_rhythm_and_no_more() -> None:
    ground = Ground()
    ground.go_on(1500)
    assert ground.source.asked == [0, 300, 600, 900, 1200]


def test_what_it_says_is_in_force_with_its_own_name() -> None:
    ground = Ground()
    ground.go_on(10)
    now = ground.now()
    assert now is not None
    assert (now.provider, now.kind, now.g_per_kwh) == ("source", "actual", 100.0)


def test_after_failures_it_is_asked_ever_more_rarely_and_healing_is_told() -> None:
    ground = Ground()
    ground.source.failing = ReadFailed("http 500")
    ground.go_on(2000)
    assert ground.source.asked == [0, 75, 225, 525, 1125]
    (part,) = ground.health.states()
    assert (part.up, part.message, part.errors_total) == (False, "http 500", 5)
    ground.source.failing = None
    ground.go_on(1000)
    assert ground.health.states()[0].up


def test_retry_after_is_obeyed() -> None:
    ground = Ground()
    ground.source.failing = ReadFailed("http 429", retry_after_s=900.0)
    ground.go_on(1000)
    assert ground.source.asked == [0, 900]


def test_a_final_answer_is_not_asked_for_again() -> None:
    ground = Ground()
    ground.source.failing = Unavailable("the key was refused", "check it")
    ground.go_on(10_000)
    assert ground.source.asked == [0]
    assert ground.now() == YEARLY
    assert ground.health.states()[0].fix == "check it"


def test_an_outage_goes_down_the_rungs_and_every_one_says_its_name() -> None:
    ground = Ground()
    ground.go_on(HOUR_S, beat_s=60)
    ground.source.failing = ReadFailed("timeout")
    kinds = []
    for _ in range(60):
        ground.go_on(HOUR_S, beat_s=600)
        now = ground.now()
        assert now is not None
        kinds.append(now.kind)
    assert next(iter(dict.fromkeys(kinds))) == "last_value"
    assert kinds[-1] == "yearly"
    assert "actual" not in kinds[2:]


def test_energy_that_waited_finds_the_intensity_of_its_own_hour() -> None:
    ground = Ground()
    ground.go_on(2 * HOUR_S, beat_s=60)
    at = ground.clock.now()
    before = in_force(ground.feed.known(at), at.wall_s - 1.5 * HOUR_S)
    assert before is not None
    assert before.g_per_kwh == 100.0


def test_an_outage_may_span_a_restart(tmp_path: Path) -> None:
    Ground(keep=Keep(tmp_path, "source", "X")).go_on(HOUR_S, beat_s=60)
    after = Ground(keep=Keep(tmp_path, "source", "X"), wall_s=START_S + 2 * HOUR_S)
    after.source.failing = ReadFailed("timeout")
    now = after.now()  # before the first answer
    assert now is not None
    assert (now.kind, now.provider) == ("last_value", "source")


def test_another_zones_history_is_not_taken(tmp_path: Path) -> None:
    Ground(keep=Keep(tmp_path, "source", "X")).go_on(HOUR_S, beat_s=60)
    assert Keep(tmp_path, "source", "Y").load() is None


def test_a_broken_history_is_told_and_begun_anew(tmp_path: Path) -> None:
    Ground(keep=Keep(tmp_path, "source", "X")).go_on(10)
    (kept,) = tmp_path.iterdir()
    kept.write_text("{")
    ground = Ground(keep=Keep(tmp_path, "source", "X"))
    (part,) = ground.health.states()
    assert "begins anew" in part.message
    ground.go_on(10)
    assert all(p.up for p in ground.health.states())


def test_a_directory_that_cannot_be_written_costs_the_history_alone(tmp_path: Path) -> None:
    ground = Ground(keep=Keep(tmp_path / "gone", "source", "X"))
    ground.go_on(10)
    now = ground.now()
    assert now is not None
    assert now.kind == "actual"
    assert {p.name: p.up for p in ground.health.states()} == {"source": True, "state": False}


def test_an_hour_that_is_rewritten_is_final_as_it_was_told_last() -> None:
    ground = Ground()
    ground.source.more = [said(-2, 500.0), said(-1, 480.0, "estimated"), said(1, 90.0, "forecast")]
    ground.go_on(10)
    assert [e.g_per_kwh for e in ground.feed.final()] == [500.0, 480.0, 100.0], "no forecast, no fallback"
    first = ground.feed.final()
    ground.go_on(600)
    assert len(ground.source.asked) == 3 and ground.feed.final() is first, "nothing else was said"
    ground.source.more = [said(-2, 500.0), said(-1, 455.0)]
    ground.go_on(300)
    assert [(e.g_per_kwh, e.kind) for e in ground.feed.final()] == [
        (500.0, "actual"),
        (455.0, "actual"),
        (100.0, "actual"),
    ]
    assert ground.feed.final() is not first


def test_the_final_values_of_eight_days_are_kept_and_outlive_a_restart(tmp_path: Path) -> None:
    ground = Ground(keep=Keep(tmp_path, "source", "X"))
    ground.source.more = [said(-hour, 200.0 + hour) for hour in range(1, 8 * 24 + 1)]
    ground.go_on(10)
    ground.source.more = []
    ground.go_on(300)
    kept = ground.feed.final()
    assert len(kept) == 8 * 24 + 1
    after = Ground(keep=Keep(tmp_path, "source", "X")).feed.final()
    assert [(e.valid_from_s, e.g_per_kwh) for e in after] == [(e.valid_from_s, e.g_per_kwh) for e in kept]


def marginal(ground: Ground) -> Ground:
    ground.source.signal = "marginal"
    return ground


def test_a_marginal_source_never_falls_back_on_an_average_figure(tmp_path: Path) -> None:
    ground = marginal(Ground(YEARLY))
    ground.go_on(HOUR_S, beat_s=60)
    ground.source.failing = ReadFailed("timeout")
    signals = set()
    for _ in range(60):
        ground.go_on(HOUR_S, beat_s=600)
        at = ground.clock.now()
        signals |= {e.signal for e in ground.feed.known(at)}
    assert signals == {"marginal"}
    assert ground.now() is None, "unknown, and no average in its place"


def test_a_feed_of_one_signal_takes_no_other(tmp_path: Path) -> None:
    keep = Keep(tmp_path, "source", "X")
    marginal(Ground(None, keep=keep)).go_on(10)
    ground = Ground(keep=keep, signal="average")
    assert ground.now() == YEARLY, "the kept history is marginal"
    marginal(ground).go_on(10)
    assert ground.now() == YEARLY
    (part,) = ground.health.states()
    assert (part.up, part.message) == (False, "source: signal is marginal, not average")
    assert Ground(YEARLY, signal="marginal").now() is None


steps = st.lists(st.tuples(st.integers(1, 40), st.booleans(), st.integers(-3, 3)), max_size=30)


@given(steps)
@settings(deadline=None)
def test_whatever_happens_no_age_is_negative_and_no_value_is_better_than_it_claims(
    happened: list[tuple[int, bool, int]],
) -> None:
    """Quarters of an hour go by, the source fails or not, and the wall clock is set by up to 3 hours now and then."""
    ground = Ground()
    told: list[GridIntensity] = []
    latest_s = 0.0
    for quarters, fails, set_h in happened:
        ground.source.failing = ReadFailed("timeout") if fails else None
        ground.clock.advance(quarters * 900.0)
        if quarters % 5 == 0:
            ground.clock.set_wall(ground.clock.now().wall_s + set_h * HOUR_S)
        ground.feed.step()
        at = ground.clock.now()
        if ground.source.asked and ground.source.asked[-1] == at.mono_s and not fails:
            told.append(ground.source.last)
            latest_s = max(latest_s, at.wall_s)
        held = ground.now()
        assert held is not None and held.valid_from_s <= at.wall_s < held.valid_to_s
        if held == YEARLY:
            continue
        assert held.fetched_at_s is not None and held.fetched_at_s <= latest_s
        assert [age for _, age in grid_age(Snapshot(at, grid=held))] >= [0.0]
        if held.kind == "actual":
            assert (held.valid_from_s, held.g_per_kwh) in [(e.valid_from_s, e.g_per_kwh) for e in told]
        else:
            assert held.valid_from_s not in [e.valid_from_s for e in told], "what was told goes before any fallback"
            assert held.kind in list(Rung)


@pytest.mark.parametrize("failures", range(1, 30))
def test_the_wait_is_bounded(failures: int) -> None:
    assert 0 < Pace(300.0, lambda: 1.0).after_failures_s(failures, None) <= LONGEST_RETRY_S * 1.1


@given(st.floats(0, 1))
def test_jitter_never_shortens_the_rhythm(jitter: float) -> None:
    assert 300.0 <= Pace(300.0, lambda: jitter).after_success_s() <= 330.0
