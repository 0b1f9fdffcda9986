"""What the books post becomes windows, with what engines told of that time; no more is remembered than is needed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agent.model import DeviceKind, Instant, ModelWork, Posting, Share, Use, Work
from agent.request_posts import Tick, Works, posted
from agent.request_windows import Past
from agent.settlement import begin

MEMORY_S, PATIENCE_S = 900.0, 75.0
WHO = ("a", "m")


def at(seconds: float) -> Instant:
    return Instant(1000.0 + seconds, 1.79e9 + seconds)


def told(start_s: float, end_s: float, tokens: float) -> Work:
    return Work("a", at(start_s), at(end_s), {"m": ModelWork(generated=tokens)}, 1.0, 1.0)


def decode(start_s: float, end_s: float, energy_j: float) -> Posting:
    return Posting(at(start_s), at(end_s), (Share(DeviceKind.GPU, Use.DECODE, "a", "m", energy_j),))


def ticked(
    now_s: float,
    *postings: Posting,
    works: tuple[Work, ...] = (),
    known: tuple[Mapping[tuple[str, str], Past], Works] = ({}, {}),
) -> tuple[Mapping[tuple[str, str], Past], Works]:
    tick = Tick(at(now_s), begin(at(0)), postings, works=works)
    return posted(*known, tick, memory_s=MEMORY_S, patience_s=PATIENCE_S)


def test_an_engine_that_rests_for_long_is_not_remembered_for_long() -> None:
    known = ticked(0)
    for n in range(5, 3600, 5):
        known = ticked(n, works=(told(n - 5, n, 0.0),), known=known)
    assert len(known[1]["a"]) <= 2 * PATIENCE_S / 5
    assert ticked(4000, known=known)[1] == {}


def test_a_window_has_the_tokens_of_its_time_though_they_were_told_before_it_was_posted() -> None:
    known = ticked(5, works=(told(0, 5, 50.0),))
    known = ticked(10, decode(0, 10, 30.0), works=(told(5, 10, 10.0),), known=known)
    (window,) = known[0][WHO].windows
    assert (window.energy_j, window.done.generated) == (30.0, 60.0)


def test_tokens_of_a_time_that_two_groups_of_gpus_post_count_once_in_the_mean() -> None:
    known = ticked(10, decode(0, 10, 40.0), works=(told(0, 10, 100.0),))
    known = ticked(20, decode(0, 10, 60.0), decode(10, 20, 50.0), works=(told(10, 20, 100.0),), known=known)
    past = known[0][WHO]
    assert past.decode_j == 150.0
    assert past.done.generated == pytest.approx(200.0)
