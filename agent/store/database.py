"""The file itself: opened by one agent at a time, checked, upgraded, and set aside if it is damaged.

Written in WAL mode without waiting for the disk: a killed agent loses nothing that it committed. A second connection
copies the log into the file once a window and waits for the disk there, so that after a power cut at most the last
window is missing, and a slow disk never delays the measuring.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
from pathlib import Path
from typing import IO

from agent.errors import JoulecarError
from agent.store.schema import TooNewError, upgrade, version

log = logging.getLogger("joulecar")

FILE = "joulecar.db"
LOCK = "joulecar.lock"
BUSY_S = 2.0
CACHE_KIB = 512


class InUseError(JoulecarError):
    """Another agent writes to this directory."""


class DiskError(JoulecarError):
    """The disk does not let itself be written or read."""


class Database:
    """A connection, and the lock that keeps a second agent out. folder None: in memory, gone at the end."""

    def __init__(self, folder: Path | None, aside_s: float) -> None:
        """aside_s: Unix time now, to name a file that is set aside. Raises InUseError, DiskError,
        and JoulecarError for a file of a later version."""
        self.path = None if folder is None else folder / FILE
        self.was_damaged = ""  # why the file found was set aside; "": it was not
        self._lock = None if folder is None else lock(folder)
        try:
            self.db = self._open(aside_s)
        except BaseException:
            self._unlock()
            raise

    def _open(self, aside_s: float) -> sqlite3.Connection:
        if self.path is None:
            return _connect(None)
        try:
            return _connect(self.path)
        except TooNewError as e:
            raise JoulecarError(f"{self.path}: {e}; install that version, or move the file away") from e
        except sqlite3.OperationalError as e:
            # The disk or its rights, not what is written there: nothing is set aside for it.
            raise DiskError(f"{self.path}: {e}") from e
        except sqlite3.DatabaseError as e:
            self.was_damaged = str(e)
            aside = self.path.with_name(f"{FILE}.damaged-{aside_s:.0f}")
            for tail in ("", "-wal", "-shm"):
                part = Path(f"{self.path}{tail}")
                if part.exists():
                    part.replace(f"{aside}{tail}")
            log.error("%s is damaged (%s): set aside as %s; totals begin anew", self.path, e, aside.name)
            return _connect(self.path)

    def checkpoint(self) -> None:
        """Copy the log into the file and wait for the disk. From any thread. Raises sqlite3.Error."""
        if self.path is None:
            return
        with_own = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None)
        try:
            with_own.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        finally:
            with_own.close()

    def close(self) -> None:
        self.db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()


def _connect(path: Path | None) -> sqlite3.Connection:
    # One thread at a time uses it (the loop's), which need not be the one that opened it.
    db = sqlite3.connect(path or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if path is not None:
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("PRAGMA journal_size_limit = 4000000")
        if version(db):
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        upgrade(db)
    except BaseException:
        db.close()
        raise
    return db


def lock(folder: Path) -> IO[str]:
    """Held as long as the file is open: it goes with the process, however that ends. Raises InUseError, DiskError."""
    try:
        file = (folder / LOCK).open("a")
    except OSError as e:
        raise DiskError(f"{folder}: {e.strerror}") from e
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        file.close()
        raise InUseError(f"{folder} is in use by another agent; give each its own agent.state_dir") from e
    return file
