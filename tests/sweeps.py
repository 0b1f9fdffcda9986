"""Recorded sweeps of CPU load against RAPL."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from agent.units import J_PER_KWH

FOLDER = Path(__file__).parent / "data" / "cpu_load_vs_rapl"

# File, and how many sockets its energy is of; see the README there.
_FILES = (("epyc_8024p", 1), ("xeon_e3_1240_v2", 1), ("xeon_e5_2620_v3_x2", 2))


@dataclass(frozen=True)
class Sweep:
    """model as the CPU tells it; points: (utilisation 0..1, measured watts)."""

    model: str
    sockets: int
    points: tuple[tuple[float, float], ...]


def load_sweeps() -> tuple[Sweep, ...]:
    sweeps = []
    for stem, sockets in _FILES:
        with (FOLDER / f"{stem}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        points = tuple(
            (float(r["cpu_load"]) / 100, float(r["rapl_energy"]) * J_PER_KWH / float(r["duration"])) for r in rows
        )
        sweeps.append(Sweep(rows[0]["cpu_name"], sockets, points))
    return tuple(sweeps)
