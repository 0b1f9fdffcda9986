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
ALONE_PAGES = 250  # of the log, until they are copied into the file
TABLES = {"total", "memory", "energy", "work"}


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
        self._alone = False  # opened without shared memory, so by one connection
        self._inode = 0
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
            return self._connected(self.path)
        except sqlite3.DatabaseError as e:
            self.was_damaged = str(e)
            self._set_aside(self.path, aside_s)
        try:
            return self._connected(self.path)
        except sqlite3.DatabaseError as e:
            raise DiskError(f"{self.path}: {e}") from e

    def _connected(self, path: Path) -> sqlite3.Connection:
        """Raises sqlite3.DatabaseError where what is written there is wrong."""
        try:
            try:
                db = _connect(path)
            except sqlite3.OperationalError as e:
                log.warning("%s: %s; trying without a file beside it", path, e)
                db, self._alone = _connect(path, alone=True), True
        except TooNewError as e:
            raise JoulecarError(f"{path}: {e}; install that version, or move the file away") from e
        except sqlite3.OperationalError as e:
            # The disk or its rights, not what is written there: nothing is set aside for it.
            raise DiskError(f"{path}: {e}") from e
        self._inode = path.stat().st_ino
        return db

    def _set_aside(self, path: Path, at_s: float) -> None:
        aside = path.with_name(f"{FILE}.damaged-{at_s:.0f}")
        try:
            for tail in ("", "-wal", "-shm"):
                part = Path(f"{path}{tail}")
                if part.exists():
                    part.replace(f"{aside}{tail}")
        except OSError as e:
            raise DiskError(f"{path} is damaged ({self.was_damaged}) and cannot be set aside: {e.strerror}") from e
        log.error("%s is damaged (%s): set aside as %s; totals begin anew", path, self.was_damaged, aside.name)

    def checkpoint(self) -> None:
        """Copy the log into the file and wait for the disk. From any thread. Raises sqlite3.Error."""
        if self.path is None:
            return
        try:
            there = self.path.stat().st_ino == self._inode
        except OSError:
            there = False
        if not there:
            raise sqlite3.OperationalError(f"{self.path} was removed or replaced: totals are in memory until a restart")
        if self._alone:
            return  # the one connection does it by itself
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


def _connect(path: Path | None, *, alone: bool = False) -> sqlite3.Connection:
    """alone: as one connection may that keeps all others out, without the file of shared memory: on a full disk there
    is no room for it, and what is in the books is wanted all the same."""
    # One thread at a time uses it (the loop's), which need not be the one that opened it.
    db = sqlite3.connect(path or ":memory:", timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        if alone:
            db.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()  # before anything is read
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if path is not None:
            db.execute("PRAGMA journal_mode = WAL").fetchall()
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {ALONE_PAGES if alone else 0}").fetchall()
            db.execute("PRAGMA journal_size_limit = 4000000")
        if version(db):
            found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)
        upgrade(db)
        if lacking := TABLES - {name for (name,) in db.execute("SELECT name FROM sqlite_master")}:
            raise sqlite3.DatabaseError(f"no table {', '.join(sorted(lacking))}")
    except BaseException:
        db.close()
        raise
    return db


def lock(folder: Path) -> IO[str]:
    """Held as long as the file is open: it goes with the process, however that ends. Raises InUseError, DiskError."""
    try:
        file = (folder / LOCK).open("a")
    except OSError as e:
        raise DiskError(f"{e.filename}: {e.strerror}") from e
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        file.close()
        if not isinstance(e, BlockingIOError):  # a file system without locks
            raise DiskError(f"{folder / LOCK} cannot be locked: {e.strerror}") from e
        raise InUseError(f"{folder} is in use by another agent; give each its own agent.state_dir") from e
    return file
