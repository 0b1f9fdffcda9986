"""Whose the grams of making the hardware are. All that accrue are given out once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.amortised import ANYBODY, accrue, share_out
from agent.embodied import EmbodiedRates
from agent.model import Device, DeviceKind, Entry, Use

GPU0, GPU1 = Device(DeviceKind.GPU, "GPU-0"), Device(DeviceKind.GPU, "GPU-1")
A, B, NOBODY = frozenset({"a"}), frozenset({"b"}), frozenset[str]()


def entry(engine: str, energy_j: float, use: Use = Use.DECODE) -> Entry:
    return Entry(0.0, engine, "m" if engine else "", use, energy_j=energy_j)


def test_a_gpus_grams_are_its_engines_however_little_power_it_draws() -> None:
    rates = EmbodiedRates({GPU0: 1.0, GPU1: 1.0})
    waiting = accrue({}, rates, {GPU0: A, GPU1: B}, 10.0)
    rest, out = share_out(waiting, [entry("a", 7000.0), entry("b", 70.0, Use.IDLE)])
    assert out == {("a", "m", Use.DECODE): 10.0, ("b", "m", Use.IDLE): 10.0}
    assert not rest


def test_engines_on_one_gpu_share_its_grams_by_their_joules() -> None:
    waiting = accrue({}, EmbodiedRates({GPU0: 1.0}), {GPU0: A | B}, 10.0)
    _, out = share_out(waiting, [entry("a", 300.0), entry("b", 100.0)])
    assert out == {("a", "m", Use.DECODE): 7.5, ("b", "m", Use.DECODE): 2.5}


def test_a_gpu_that_serves_nobody_is_not_charged_to_an_engine() -> None:
    waiting = accrue({}, EmbodiedRates({GPU0: 1.0}), {GPU0: NOBODY}, 10.0)
    _, out = share_out(waiting, [entry("a", 300.0), entry("", 50.0, Use.UNASSIGNED)])
    assert out == {("", "", Use.UNASSIGNED): 10.0}


def test_the_server_is_everybodys() -> None:
    waiting = accrue({}, EmbodiedRates(node_g_per_s=2.0), {}, 5.0)
    _, out = share_out(waiting, [entry("a", 300.0), entry("", 100.0, Use.UNASSIGNED)])
    assert out == {("a", "m", Use.DECODE): 7.5, ("", "", Use.UNASSIGNED): 2.5}


def test_what_nobody_was_booked_for_waits_and_at_the_end_has_an_owner() -> None:
    waiting = accrue({}, EmbodiedRates({GPU0: 1.0}, node_g_per_s=1.0), {GPU0: A}, 5.0)
    rest, out = share_out(waiting, [])
    assert (rest, out) == ({A: 5.0, ANYBODY: 5.0}, {})
    rest, out = share_out(rest, [], last=True)
    assert (rest, out) == ({}, {("a", "", Use.UNATTRIBUTED): 5.0, ("", "", Use.UNASSIGNED): 5.0})


@given(
    st.lists(st.floats(0, 100), min_size=3, max_size=3),
    st.lists(st.tuples(st.sampled_from(["a", "b", ""]), st.floats(0, 1e6)), max_size=5),
    st.floats(0, 1e4),
)
def test_every_gram_is_given_out_once_or_waits(
    rates: list[float], joules: list[tuple[str, float]], seconds: float
) -> None:
    known = EmbodiedRates({GPU0: rates[0], GPU1: rates[1]}, node_g_per_s=rates[2])
    waiting = accrue({}, known, {GPU0: A, GPU1: A | B}, seconds)
    entries = [entry(e, j, Use.DECODE if e else Use.UNASSIGNED) for e, j in joules]
    rest, out = share_out(waiting, entries)
    assert sum(rest.values()) + sum(out.values()) == pytest.approx(sum(rates) * seconds, rel=1e-9)
