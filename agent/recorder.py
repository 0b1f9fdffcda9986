"""Writes every tick to a trace file: the same ticks that replay reads."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO

from agent.books import Books, Policy
from agent.health import Health
from agent.model import EnergyPrice, GridIntensity, Part
from agent.opening import Kept
from agent.redact import Redactor
from agent.settings import RecordSettings
from agent.trace import Tick, encode_tick

COMPRESSION = 3  # of gzip: a quarter of the time of its usual 9, and files a fifth larger


class Recorder:
    """Appends JSON lines. A disk that fails costs the recording, never the measuring.

    A file that has grown to max_bytes, day.jsonl.gz say, becomes day.1.jsonl.gz, that one day.2.jsonl.gz, and so on;
    what is beyond `keep` files is deleted. A file that is there at the start gives way likewise. Each can be replayed
    alone, and ends with the run's own totals, since it opens with those of before.
    """

    def __init__(
        self,
        path: Path,
        health: Health,
        settings: RecordSettings = RecordSettings(),  # noqa: B008 - frozen
        kept: Kept = Kept(Policy()),  # noqa: B008 - frozen
    ) -> None:
        """Raises OSError if the file cannot be written at all."""
        self._health = health
        self._path = path
        self._settings = settings
        self._kept = kept
        self._redact = Redactor(kept.engines) if settings.redact else None
        if path.is_file() and path.stat().st_size > 0:
            self._make_room()
        self._file: IO[str] = _open(path)
        self._is_new = True
        self._run_s: float | None = None  # when the first tick was
        self._grid: tuple[GridIntensity, ...] = ()
        self._prices: tuple[EnergyPrice, ...] = ()

    def __call__(self, tick: Tick, books: Books) -> None:
        """books: as they stand before the tick."""
        if self._run_s is None:
            self._run_s = tick.at.wall_s
        if self._redact is not None:
            tick = self._redact(tick)
        # Grid and prices are written when they change: a reader keeps what it has been told.
        grid, self._grid = (() if tick.grid == self._grid else tick.grid), tick.grid
        prices, self._prices = (() if tick.prices == self._prices else tick.prices), tick.prices
        try:
            opening = self._opening(books, self._run_s) if self._is_new else None
            self._file.write(encode_tick(replace(tick, grid=grid, prices=prices, opening=opening)) + "\n")
            self._file.flush()
            size = self._path.stat().st_size
            if self._is_new:
                self._is_new, self._least = False, 2 * size
            if size >= max(self._settings.max_bytes, self._least):
                self._rotate()
        except (OSError, ValueError) as e:  # ValueError: closed, since the next file could not be opened
            reason = getattr(e, "strerror", None) or str(e)
            self._health.failed(Part.LEDGER, "record", f"{self._path}: {reason}", "free space or another path")
            return
        self._health.ok(Part.LEDGER, "record", tick.at.wall_s)

    def _opening(self, books: Books, run_s: float) -> Mapping[str, object]:
        return self._kept.opening(books, run_s, None if self._redact is None else self._redact.within(books))

    def _rotate(self) -> None:
        self._file.close()
        self._make_room()
        self._file = _open(self._path)
        self._grid, self._prices = (), ()  # the new file begins with them
        self._is_new = True

    def _make_room(self) -> None:
        """Each file takes the next number; the oldest has none."""
        oldest = self._settings.keep - 1
        for n in range(oldest - 1, 0, -1):
            if numbered(self._path, n).exists():
                numbered(self._path, n).replace(numbered(self._path, n + 1))
        if oldest > 0:
            self._path.replace(numbered(self._path, 1))

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
        return gzip.open(path, "wt", compresslevel=COMPRESSION, encoding="utf-8")
    return path.open("w", encoding="utf-8")
