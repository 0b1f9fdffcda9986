"""Models of CPU power against three recorded load sweeps: how far off each is, CodeCarbon's cubic as the baseline.

mean |error| is relative to the measured watts of each step, energy error to the sweep's whole energy (every step
counts by its watts); both are means over the sweeps. bias is the error of a sweep's total. A row "fitted without"
tells how the fit does on a machine that it has not seen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from agent.sources.tdp import codecarbon_table, estimate_cpu_power_w
from tests.bench.harness import Row, print_table
from tests.sweeps import Sweep, load_sweeps

Curve = Callable[[float], float]  # utilisation 0..1 -> share of TDP
Points = Sequence[tuple[float, float]]

BASELINE = "codecarbon: TDP (0.1 + 0.9 u^3)"

CURVES: dict[str, Curve] = {
    "joulecar: TDP (0.11 + 0.57 u^0.85)": lambda u: estimate_cpu_power_w(u, 1.0),
    BASELINE: lambda u: 0.1 + 0.9 * u**3,
    "TDP u": lambda u: u,
    "TDP (0.15 + 0.85 u)": lambda u: 0.15 + 0.85 * u,
    "TDP / 2": lambda u: 0.5,
}


def shares(sweep: Sweep) -> Points:
    """The sweep with watts as shares of the machine's TDP."""
    table = codecarbon_table()
    entry = table.find(sweep.model) if table is not None else None
    if entry is None:
        raise LookupError(f"no TDP for {sweep.model}")
    return [(u, power_w / (entry.tdp_w * sweep.sockets)) for u, power_w in sweep.points]


def mean_error(curve: Curve, points: Points) -> float:
    return sum(abs(curve(u) - p) / p for u, p in points) / len(points)


def energy_error(curve: Curve, points: Points) -> float:
    return sum(abs(curve(u) - p) for u, p in points) / sum(p for _, p in points)


def bias(curve: Curve, points: Points) -> float:
    return sum(curve(u) for u, _ in points) / sum(p for _, p in points) - 1


def concave(idle: float, peak: float, shape: float) -> Curve:
    return lambda u: idle + (peak - idle) * u**shape


def fit(sets: Sequence[Points]) -> tuple[float, float, float]:
    """Least squares over a grid: idle and peak as shares of TDP, and the exponent."""
    grid = itertools.product(
        [i / 100 for i in range(5, 22)], [i / 100 for i in range(50, 100, 2)], [i / 20 for i in range(8, 26)]
    )

    def loss(parameters: tuple[float, float, float]) -> float:
        curve = concave(*parameters)
        return sum(sum((curve(u) - p) ** 2 for u, p in points) / len(points) for points in sets)

    return min(grid, key=loss)


def run() -> None:
    sweeps = load_sweeps()
    sets = [shares(sweep) for sweep in sweeps]
    for measure, title in ((energy_error, "energy error"), (mean_error, "mean |error|")):
        rows = []
        for name, curve in CURVES.items():
            error = sum(measure(curve, points) for points in sets) / len(sets)
            off = sum(bias(curve, points) for points in sets) / len(sets)
            each = " ".join(f"{100 * measure(curve, points):.0f}" for points in sets)
            rows.append(Row(name, 100 * error, "%", f"bias {100 * off:+.0f}%; each {each}"))
        for i, sweep in enumerate(sweeps):
            fitted = fit([points for j, points in enumerate(sets) if j != i])
            curve = concave(*fitted)
            note = (
                f"bias {100 * bias(curve, sets[i]):+.0f}%; idle {fitted[0]:.2f} peak {fitted[1]:.2f} u^{fitted[2]:.2f}"
            )
            rows.append(Row(f"fitted without {sweep.model[:28]}", 100 * measure(curve, sets[i]), "%", note))
        print_table(f"CPU power from utilisation, against RAPL on three servers: {title}", rows, baseline=BASELINE)
    print("  the fit over all three: idle {:.2f}, peak {:.2f}, u^{:.2f}".format(*fit(sets)))
