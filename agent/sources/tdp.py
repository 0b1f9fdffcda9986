"""What a CPU and its memory draw, for machines that do not measure it: pure functions and one table.

The numbers are estimates: expect +-50%. Thermal design power (TDP) by model comes from CodeCarbon's data file
hardware/cpu_power.csv (MIT), read from the installed distribution without importing it.
"""

from __future__ import annotations

import csv
import importlib.util
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

# Watts per hardware thread where the model is unknown, or only a part of it is ours and its size is not known.
# CodeCarbon's default (core/cpu.py, DEFAULT_POWER_PER_CORE); Cloud Carbon Footprint has 3.97 W for a fully loaded
# Cascade Lake vCPU.
DEFAULT_TDP_PER_THREAD_W = 4.0

# P = TDP * (IDLE + (PEAK - IDLE) * u**SHAPE): the least-squares fit to three recorded load sweeps (CodeCarbon's
# cpu_load_profiling: Xeon E3-1240 v2, 2x Xeon E5-2620 v3, EPYC 8024P; energy counter over the step's duration).
# None of them reached its TDP; `python -m tests.bench` prints how this and other curves fare.
IDLE_SHARE = 0.11
PEAK_SHARE = 0.68
SHAPE = 0.85

# Memory: 5 W a module, less for each when there are many, and the number of modules guessed from the size: both as
# CodeCarbon does it (external/ram.py). A virtual machine has a share of a server's large modules instead.
W_PER_MODULE = 5.0
GB_PER_SERVER_MODULE = 32.0


def estimate_cpu_power_w(utilisation: float, tdp_w: float) -> float:
    """Watts of a CPU of tdp_w watts at utilisation 0..1 of all its threads. Outside of that range: clamped."""
    busy = min(1.0, max(0.0, utilisation))
    return float(tdp_w * (IDLE_SHARE + (PEAK_SHARE - IDLE_SHARE) * busy**SHAPE))


def estimate_memory_power_w(memory_gb: float, *, virtual: bool) -> float:
    """Watts of memory_gb gigabytes, whatever they do. virtual: a guest's share of a server's memory."""
    if virtual:
        return W_PER_MODULE * memory_gb / GB_PER_SERVER_MODULE
    count = _modules(memory_gb)
    full, good, better = min(count, 4), min(max(count - 4, 0), 4), min(max(count - 8, 0), 8)
    best = max(count - 16, 0)
    return W_PER_MODULE * (full + 0.9 * good + 0.8 * better + 0.7 * best)


def _modules(memory_gb: float) -> int:
    for up_to_gb, count in ((2, 1), (16, 2), (64, 4), (128, 8), (256, 8), (512, 8), (1024, 16)):
        if memory_gb <= up_to_gb:
            return count
    return min(32, -(-int(memory_gb) // 128))


@dataclass(frozen=True, slots=True)
class Tdp:
    """Watts of one CPU of a model, under the table's own name for it."""

    name: str
    tdp_w: float


class TdpTable:
    """Looks models up by the name that the CPU itself tells. Exact once brand marks, clock and core counts are off;
    never the nearest neighbour: 'E3-1240 v2' is not 'E3-1240'.

    Without an index: a machine asks once, and an index of 5,000 models leaves 3 MB behind.
    """

    def __init__(self, rows: Iterable[tuple[str, float]]) -> None:
        self._rows = tuple(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, model: str) -> Tdp | None:
        """None: unknown, or the name fits models of different power."""
        words = _words(model)
        numbers = _numbers(words)
        # A bare clock or generation does not name a model; 7763 and i7-8850h do.
        names_model = any(len(word) >= 4 for word in numbers)
        candidates: list[Tdp] = []
        for name, tdp_w in self._rows:
            theirs = _words(name)
            if theirs == words:
                return Tdp(name, tdp_w)
            if names_model and _numbers(theirs) == numbers and set(theirs) & set(words) - numbers:
                candidates.append(Tdp(name, tdp_w))
        return candidates[0] if len({c.tdp_w for c in candidates}) == 1 else None


_NOISE = re.compile(
    r"\((?:r|tm|c)\)|®|™|@.*$|\b\d+-cores?\b|\b(?:\d+|dual|quad|six|eight|twelve|sixteen)[- ]core\b"
    r"|\bwith radeon.*$|\bw/ radeon.*$|\b\d+(?:st|nd|rd|th) gen\b|\b(?:cpu|processor|apu|genuine)\b"
)


def _words(name: str) -> tuple[str, ...]:
    plain = name.lower().encode("ascii", "ignore").decode()
    return tuple(_NOISE.sub(" ", plain).split())


def _numbers(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word for word in words if any(c.isdigit() for c in word))


def codecarbon_table() -> TdpTable | None:
    """The table of the installed CodeCarbon; None if it is not where its package is, or cannot be read."""
    try:
        spec = importlib.util.find_spec("codecarbon")  # does not run the package
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / "data" / "hardware" / "cpu_power.csv"
        if path.is_file():
            return read_table(path)
    return None


def read_table(path: Path) -> TdpTable | None:
    """A file with the columns Name and TDP (watts); rows without a number are left out. None: not readable."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return TdpTable(_rows(csv.DictReader(file)))
    except (OSError, UnicodeDecodeError, csv.Error):
        return None


def _rows(rows: Iterable[Mapping[str, str | None]]) -> Iterable[tuple[str, float]]:
    for row in rows:
        name, text = row.get("Name"), row.get("TDP")
        try:
            tdp_w = float(text or "")
        except ValueError:
            continue
        if name and 0 < tdp_w < 10_000:
            yield name, tdp_w
