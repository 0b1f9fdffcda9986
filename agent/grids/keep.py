"""A feed's history on disk, so that an outage may span a restart. A disk that fails costs this alone."""

from __future__ import annotations

import os
from pathlib import Path

from agent.grids.history import History, Series
from agent.grids.store import MAX_BYTES, Broken, decode, encode, file_name


class Keep:
    """One file in the state directory, written in one step: a crash leaves the old one or the new one."""

    def __init__(self, folder: Path, provider: str, zone: str, region: str = "") -> None:
        """region: the provider's own name, where it is configured: each has a history of its own."""
        self._path = folder / file_name(Series(zone, provider, region, ""))

    def load(self) -> History | Broken | None:
        """None: nothing was kept yet."""
        try:
            with self._path.open("rb") as file:
                return decode(file.read(MAX_BYTES + 1))
        except FileNotFoundError:
            return None
        except OSError as e:
            return Broken(f"{self._path}: {e.strerror or e}")

    def save(self, history: History) -> None:
        """Raises OSError."""
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(encode(history))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
