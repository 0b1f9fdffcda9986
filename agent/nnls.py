"""Least squares with coefficients that are not negative, from the normal equations alone: a few unknowns, no arrays.

The active-set method of Lawson and Hanson (1974, chapter 23), in the form of Bro and de Jong (1997) that needs only
the sums A = X'X and b = X'y, so that nothing of the past has to be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul

RIDGE = 1e-7  # of each unknown's own diagonal: two that always go together share what they explain
ENOUGH = 1e-10  # of b: a gradient below it is none

Matrix = Sequence[Sequence[float]]


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    """Of as many numbers each, which is not checked: it is most of the time that a fit takes."""
    total: float = sum(map(mul, a, b))
    return total


def form(a: Matrix, v: Sequence[float]) -> float:
    """v'Av."""
    return sum(vi * dot(row, v) for row, vi in zip(a, v, strict=True))


def solve(a: Matrix, b: Sequence[float]) -> list[float]:
    """x with (A + ridge) x = b, by elimination with pivots; unknowns that A says nothing of are 0."""
    n = len(b)
    rows = [[a[i][j] * (1.0 + RIDGE if i == j else 1.0) for j in range(n)] + [b[i]] for i in range(n)]
    scale = max((abs(a[i][i]) for i in range(n)), default=0.0)
    left = list(range(n))
    pivots: list[tuple[int, int]] = []
    for column in range(n):
        best = max(left, key=lambda r: abs(rows[r][column]), default=None)
        if best is None or abs(rows[best][column]) <= 1e-14 * scale:
            continue
        left.remove(best)
        pivots.append((column, best))
        head = rows[best]
        for r in range(n):
            if r != best and (factor := rows[r][column] / head[column]):
                rows[r] = [v - factor * h for v, h in zip(rows[r], head, strict=True)]
    x = [0.0] * n
    for column, r in pivots:
        x[column] = rows[r][n] / rows[r][column]
    return x


def nnls(a: Matrix, b: Sequence[float]) -> list[float]:
    """x >= 0 that minimises x'Ax - 2b'x. A is symmetric and not negative definite."""
    n = len(b)
    # In units in which every unknown weighs the same: joules by token and by step differ by orders of magnitude.
    unit = [a[i][i] ** 0.5 if a[i][i] > 0 else 0.0 for i in range(n)]
    usable = [i for i in range(n) if unit[i] > 0]
    scaled = [[a[i][j] / (unit[i] * unit[j]) for j in usable] for i in usable]
    target = [b[i] / unit[i] for i in usable]
    y = _active_set(scaled, target)
    x = [0.0] * n
    for i, value in zip(usable, y, strict=True):
        x[i] = value / unit[i]
    return x


def _active_set(a: Matrix, b: Sequence[float]) -> list[float]:
    n = len(b)
    x = [0.0] * n
    free: list[int] = []
    limit = ENOUGH * max((abs(v) for v in b), default=0.0)
    for _ in range(3 * n):  # more never helped: a bound against cycles of rounding
        gradient = [b[i] - sum(a[i][j] * x[j] for j in free) for i in range(n)]
        held = [i for i in range(n) if i not in free and gradient[i] > limit]
        if not held:
            break
        free.append(max(held, key=lambda i: gradient[i]))
        while free:
            best = solve([[a[i][j] for j in free] for i in free], [b[i] for i in free])
            if min(best) > 0:
                break
            # As far towards the best as no unknown goes below 0; those that got there leave.
            steps = [x[i] / (x[i] - v) for i, v in zip(free, best, strict=True) if v <= 0 and x[i] > v]
            step = min(steps, default=0.0)
            for i, v in zip(free, best, strict=True):
                x[i] += step * (v - x[i])
            gone = [i for i, v in zip(free, best, strict=True) if v <= 0 and x[i] <= 1e-15]
            for i in gone or [min(free, key=lambda i: x[i])]:
                x[i] = 0.0
                free.remove(i)
        else:
            break
        for i, v in zip(free, best, strict=True):
            x[i] = v
    return x
