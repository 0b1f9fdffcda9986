"""Writes every tick to a trace file: the same ticks that replay reads."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import IO

from agent.health import Health
from agent.model import EnergyPrice, GridIntensity, Part
from agent.redact import Redactor
from agent.settings import RecordSettings
from agent.trace import Tick, encode_tick


class Recorder:
    """Appends JSON lines. A disk that fails costs the recording, never the measuring.

    A file that has grown to max_bytes, day.jsonl.gz say, becomes day.1.jsonl.gz, that one day.2.jsonl.gz, and so on;
    what is beyond `keep` files is deleted. Each can be replayed alone, and gives the totals of its own time.
    """

    def __init__(self, path: Path, health: Health, settings: RecordSettings = RecordSettings()) -> None:  # noqa: B008 - frozen
        """Raises OSError if the file cannot be written at all."""
        self._health = health
        self._path = path
        self._settings = settings
        self._redact = Redactor() if settings.redact else None
        self._file: IO[str] = _open(path)
        self._grid: tuple[GridIntensity, ...] = ()
        self._prices: tuple[EnergyPrice, ...] = ()

    def __call__(self, tick: Tick) -> None:
        if self._redact is not None:
            tick = self._redact(tick)
        # Grid and prices are written when they change: a reader keeps what it has been told.
        grid, self._grid = (() if tick.grid == self._grid else tick.grid), tick.grid
        prices, self._prices = (() if tick.prices == self._prices else tick.prices), tick.prices
        try:
            self._file.write(encode_tick(replace(tick, grid=grid, prices=prices)) + "\n")
            self._file.flush()
            if self._path.stat().st_size >= self._settings.max_bytes:
                self._rotate()
        except (OSError, ValueError) as e:  # ValueError: closed, since the next file could not be opened
            reason = getattr(e, "strerror", None) or str(e)
            self._health.failed(Part.LEDGER, "record", f"{self._path}: {reason}", "free space or another path")
            return
        self._health.ok(Part.LEDGER, "record", tick.at.wall_s)

    def _rotate(self) -> None:
        self._file.close()
        oldest = self._settings.keep - 1
        for n in range(oldest - 1, 0, -1):
            if numbered(self._path, n).exists():
                numbered(self._path, n).replace(numbered(self._path, n + 1))
        if oldest > 0:
            self._path.replace(numbered(self._path, 1))
        self._file = _open(self._path)
        self._grid, self._prices = (), ()  # the new file begins with them

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as e:
            self._health.failed(Part.LEDGER, "record", f"{self._path}: {e.strerror}")


def numbered(path: Path, n: int) -> Path:
    """day.jsonl.gz, 2: day.2.jsonl.gz."""
    name, dot, suffixes = path.name.partition(".")
    return path.with_name(f"{name}.{n}{dot}{suffixes}")


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "wt", encoding="utf-8")
    return path.open("w", encoding="utf-8")
