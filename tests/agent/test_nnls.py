"""Least squares without negative coefficients, against what can be checked of any solution."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.nnls import nnls, solve

Rows = list[tuple[list[float], float]]


def sums(rows: Rows) -> tuple[list[list[float]], list[float]]:
    n = len(rows[0][0])
    a = [[sum(x[i] * x[j] for x, _ in rows) for j in range(n)] for i in range(n)]
    return a, [sum(x[i] * y for x, y in rows) for i in range(n)]


def test_what_is_exactly_a_sum_of_prices_gives_the_prices() -> None:
    rows: Rows = [([p, g, s], 0.02 * p + 0.5 * g + 3.0 * s) for p, g, s in [(9e3, 40, 30), (0, 90, 9), (700, 7, 50)]]
    assert nnls(*sums(rows)) == pytest.approx([0.02, 0.5, 3.0], rel=1e-4)


def test_a_coefficient_that_would_be_negative_is_0_and_the_others_make_the_best_of_it() -> None:
    rows: Rows = [([1.0, 0.0], 4.0), ([0.0, 1.0], -2.0), ([1.0, 1.0], 2.0)]
    assert nnls(*sums(rows)) == [pytest.approx(3.0), 0.0]


def test_two_that_always_go_together_share_and_one_that_never_comes_is_0() -> None:
    x = nnls(*sums([([k, k, 0.0], 2.0 * k) for k in (1.0, 2.0, 5.0)]))
    assert x[0] + x[1] == pytest.approx(2.0, rel=1e-4)
    assert x[2] == 0.0
    assert nnls([[0.0]], [0.0]) == [0.0]


def test_a_singular_system_is_solved_as_far_as_it_says_something() -> None:
    assert solve([[4.0, 0.0], [0.0, 0.0]], [8.0, 0.0]) == [pytest.approx(2.0), 0.0]


numbers = st.floats(0, 1000).map(lambda v: round(v, 3))


@given(st.lists(st.tuples(st.lists(numbers, min_size=4, max_size=4), st.floats(-1e4, 1e4)), min_size=4, max_size=12))
def test_the_solution_is_feasible_and_no_single_step_improves_it(rows: Rows) -> None:
    a, b = sums(rows)
    x = nnls(a, b)
    assert min(x) >= 0

    def cost(x: list[float]) -> float:
        return sum((sum(c * v for c, v in zip(x, row, strict=True)) - y) ** 2 for row, y in rows)

    here = cost(x)
    scale = sum(y * y for _, y in rows) + 1e-9
    for i in range(4):
        if a[i][i] <= 0:
            continue
        best = max(0.0, x[i] + (b[i] - sum(a[i][j] * x[j] for j in range(4))) / a[i][i])
        assert cost([best if j == i else v for j, v in enumerate(x)]) >= here - 1e-4 * scale
