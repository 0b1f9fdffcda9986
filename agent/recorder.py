"""Writes every tick to a trace file: the same ticks that replay reads."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import IO

from agent.health import Health
from agent.model import EnergyPrice, GridIntensity, Part
from agent.trace import Tick, encode_tick


class Recorder:
    """Appends JSON lines. A disk that fails costs the recording, never the measuring."""

    def __init__(self, path: Path, health: Health) -> None:
        """Raises OSError if the file cannot be written at all."""
        self._health = health
        self._path = path
        self._file: IO[str] = _open(path)
        self._grid: tuple[GridIntensity, ...] = ()
        self._prices: tuple[EnergyPrice, ...] = ()

    def __call__(self, tick: Tick) -> None:
        # Grid and prices are written when they change: a reader keeps what it has been told.
        grid, self._grid = (() if tick.grid == self._grid else tick.grid), tick.grid
        prices, self._prices = (() if tick.prices == self._prices else tick.prices), tick.prices
        try:
            self._file.write(encode_tick(replace(tick, grid=grid, prices=prices)) + "\n")
            self._file.flush()
        except OSError as e:
            self._health.failed(Part.LEDGER, "record", f"{self._path}: {e.strerror}", "free space or another path")
            return
        self._health.ok(Part.LEDGER, "record", tick.at.wall_s)

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as e:
            self._health.failed(Part.LEDGER, "record", f"{self._path}: {e.strerror}")


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "wt", encoding="utf-8")
    return path.open("w", encoding="utf-8")
