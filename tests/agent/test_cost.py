"""Money: the pieces add up to the whole, a negative price is a credit, and what no price covers has no cost."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cost import CostRate, in_force, price_per_joule
from agent.model import EnergyPrice, Spent
from agent.units import J_PER_KWH

HOUR = 3600.0


def hour(n: int, per_kwh: float) -> EnergyPrice:
    return EnergyPrice("AT", per_kwh, "EUR", "test", valid_from_s=n * HOUR, valid_to_s=(n + 1) * HOUR)


def constant(per_kwh: float) -> EnergyPrice:
    return EnergyPrice("", per_kwh, "EUR", "fixed", "fixed")


prices = st.floats(min_value=-2.0, max_value=5.0, allow_subnormal=False)
timelines = st.lists(
    st.builds(
        lambda start_s, length_s, p, fetched_s: EnergyPrice(
            "AT", p, "EUR", "test", valid_from_s=start_s, valid_to_s=start_s + length_s, fetched_at_s=fetched_s
        ),
        st.integers(0, 40).map(lambda n: n * 900.0),
        st.sampled_from([900.0, 1800.0, 3600.0]),
        prices,
        st.none() | st.floats(0, 1e5),
    ),
    max_size=8,
)
spendings = st.lists(
    st.tuples(st.floats(0, 3e4), st.floats(0, 8e3), st.floats(0.1, 1e7)).map(
        lambda t: (t[0], t[0] + t[1], t[2])  # from, to, joules
    ),
    min_size=1,
    max_size=6,
)


def test_a_kilowatt_hour_at_a_constant_price_costs_that_price() -> None:
    rate = price_per_joule([(0.0, 60.0, 5.0)], [constant(0.30)])
    assert rate.charge_per_j * J_PER_KWH == pytest.approx(0.30)
    assert (rate.credit_per_j, rate.uncosted) == (0.0, 0.0)


def test_a_negative_price_is_a_credit_and_no_charge() -> None:
    for timeline in ([constant(-0.05)], [hour(0, -0.05)]):
        rate = price_per_joule([(0.0, 60.0, 5.0)], timeline)
        assert rate.credit_per_j * J_PER_KWH == pytest.approx(0.05)
        assert (rate.charge_per_j, rate.uncosted) == (0.0, 0.0)


def test_a_tick_over_the_hour_pays_each_hour_its_own_price() -> None:
    rate = price_per_joule([(0.75 * HOUR, 1.75 * HOUR, 100.0)], [hour(0, 0.20), hour(1, -0.04)])
    assert rate.charge_per_j * J_PER_KWH == pytest.approx(0.25 * 0.20)
    assert rate.credit_per_j * J_PER_KWH == pytest.approx(0.75 * 0.04), "charge and credit are not netted"


def test_the_last_minute_of_a_window_that_is_in_the_next_hour_pays_its_price() -> None:
    rate = price_per_joule([(0.0, HOUR + 60.0, 61.0)], [hour(0, 0.10), hour(1, 6.20)])
    assert rate.charge_per_j * J_PER_KWH == pytest.approx((60 * 0.10 + 6.20) / 61)


def test_energy_that_flowed_later_pays_more_where_the_later_price_is_higher() -> None:
    timeline = [hour(0, 0.10), hour(1, 0.50)]
    rate = price_per_joule([(0.0, HOUR, 1.0), (HOUR, 2 * HOUR, 3.0)], timeline)
    assert rate.charge_per_j * J_PER_KWH == pytest.approx(0.25 * 0.10 + 0.75 * 0.50), "not E x mean(price), 0.30"


def test_an_hour_without_a_price_costs_nothing_and_is_told() -> None:
    rate = price_per_joule([(0.0, 4 * HOUR, 8.0)], [hour(0, 0.20), hour(3, 0.20)])
    assert rate.uncosted == pytest.approx(0.5)
    assert rate.charge_per_j * J_PER_KWH == pytest.approx(0.10), "half of the joules at 0.20, none at a neighbour's"


def test_without_any_price_every_joule_is_uncosted() -> None:
    assert price_per_joule([(0.0, HOUR, 8.0)], []) == CostRate(0.0, 0.0, 1.0)


def test_nothing_spent_is_neither_charged_nor_uncosted() -> None:
    assert price_per_joule([], [constant(0.3)]) == CostRate()
    assert price_per_joule([(0.0, HOUR, 0.0)], []) == CostRate()


def test_a_moment_takes_the_price_in_force_and_a_bound_belongs_to_the_next() -> None:
    timeline = [hour(0, 0.10), hour(1, 0.50)]
    assert price_per_joule([(HOUR, HOUR, 1.0)], timeline).charge_per_j * J_PER_KWH == pytest.approx(0.50)
    assert in_force(timeline, 2 * HOUR) is None


def test_of_two_statements_about_one_hour_the_later_fetched_holds() -> None:
    old = EnergyPrice("AT", 0.1, "EUR", "t", valid_from_s=0.0, valid_to_s=HOUR, fetched_at_s=1.0)
    new = EnergyPrice("AT", 0.2, "EUR", "t", valid_from_s=0.0, valid_to_s=HOUR, fetched_at_s=2.0)
    assert in_force([old, new], 5.0) is new
    assert in_force([new, old], 5.0) is new


@given(spendings, timelines)
def test_what_is_charged_credited_and_uncosted_never_falls_below_0_and_the_share_is_one(
    spent: list[Spent], timeline: list[EnergyPrice]
) -> None:
    rate = price_per_joule(spent, timeline)
    assert rate.charge_per_j >= 0 and rate.credit_per_j >= 0
    assert 0 <= rate.uncosted <= 1


@given(spendings, timelines, st.randoms(use_true_random=False))
def test_the_order_of_the_timeline_and_of_the_pieces_does_not_matter(
    spent: list[Spent], timeline: list[EnergyPrice], random: Random
) -> None:
    rate = price_per_joule(spent, timeline)
    other = price_per_joule(random.sample(spent, len(spent)), random.sample(timeline, len(timeline)))
    assert other.charge_per_j == pytest.approx(rate.charge_per_j, rel=1e-9, abs=1e-18)
    assert other.credit_per_j == pytest.approx(rate.credit_per_j, rel=1e-9, abs=1e-18)
    assert other.uncosted == pytest.approx(rate.uncosted, abs=1e-9)


@given(spendings, timelines, st.floats(0.01, 0.99))
def test_cutting_an_interval_changes_nothing(spent: list[Spent], timeline: list[EnergyPrice], at: float) -> None:
    cut: list[Spent] = []
    for start_s, end_s, energy_j in spent:
        middle_s = start_s + (end_s - start_s) * at
        if not start_s < middle_s < end_s:
            cut.append((start_s, end_s, energy_j))
            continue
        first_j = energy_j * (middle_s - start_s) / (end_s - start_s)
        cut += [(start_s, middle_s, first_j), (middle_s, end_s, energy_j - first_j)]
    whole, parts = price_per_joule(spent, timeline), price_per_joule(cut, timeline)
    assert parts.charge_per_j == pytest.approx(whole.charge_per_j, rel=1e-6, abs=1e-12)
    assert parts.credit_per_j == pytest.approx(whole.credit_per_j, rel=1e-6, abs=1e-12)
    assert parts.uncosted == pytest.approx(whole.uncosted, abs=1e-6)


@given(spendings, prices)
def test_one_price_at_every_time_is_that_price(spent: list[Spent], per_kwh: float) -> None:
    for timeline in ([constant(per_kwh)], [hour(n, per_kwh) for n in range(12)]):
        rate = price_per_joule(spent, timeline)
        assert rate.uncosted == 0.0
        net = (rate.charge_per_j - rate.credit_per_j) * J_PER_KWH
        assert math.isclose(net, per_kwh, rel_tol=1e-9, abs_tol=1e-12)
