"""The file: one agent at a time, set aside when damaged, refused when it is of a later version."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.errors import JoulecarError
from agent.store.database import FILE, Database, DiskError, InUseError
from agent.store.schema import UPGRADES, upgrade, version


def rows(database: Database) -> list[tuple[str, str, float]]:
    return database.db.execute("SELECT name, key, value FROM total").fetchall()


def put(database: Database, value: float = 1.5) -> None:
    database.db.execute("INSERT INTO total VALUES ('n', 'k', ?)", (value,))


def test_what_was_written_is_there_at_the_next_start(tmp_path: Path) -> None:
    first = Database(tmp_path, 0.0)
    put(first)
    first.close()
    second = Database(tmp_path, 0.0)
    assert rows(second) == [("n", "k", 1.5)]
    second.close()


def test_a_second_agent_is_refused_and_told_why(tmp_path: Path) -> None:
    first = Database(tmp_path, 0.0)
    with pytest.raises(InUseError, match="in use by another agent"):
        Database(tmp_path, 0.0)
    first.close()
    Database(tmp_path, 0.0).close()


@pytest.mark.parametrize("garbage", [b"no database at all" * 400, b""])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / FILE).write_bytes(garbage)
    found = Database(tmp_path, 1234.0)
    put(found)
    assert len(rows(found)) == 1
    found.close()
    assert bool(found.was_damaged) == bool(garbage)  # an empty file is an empty database
    aside = tmp_path / f"{FILE}.damaged-1234"
    assert not garbage or aside.read_bytes() == garbage


def test_a_file_with_a_torn_page_is_set_aside(tmp_path: Path) -> None:
    first = Database(tmp_path, 0.0)
    first.db.executemany("INSERT INTO total VALUES ('n', ?, 1)", [(f"k{i:06}",) for i in range(3000)])
    first.close()
    data = bytearray((tmp_path / FILE).read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = b"\xff" * 4096
    (tmp_path / FILE).write_bytes(data)
    second = Database(tmp_path, 0.0)
    assert second.was_damaged
    assert not rows(second)
    second.close()


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    Database(tmp_path, 0.0).close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(JoulecarError, match="version is 99"):
        Database(tmp_path, 0.0)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_directory_that_is_not_there_is_the_disks_fault(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="No such file"):
        Database(tmp_path / "none", 0.0)


def test_each_version_is_upgraded_to_the_last_one_and_keeps_what_it_has() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    upgrade(db)
    db.execute("INSERT INTO total VALUES ('n', 'k', 2.0)")
    steps = (*UPGRADES, ("ALTER TABLE total ADD COLUMN note TEXT NOT NULL DEFAULT 'old'",))
    upgrade(db, steps)
    assert version(db) == len(UPGRADES) + 1
    assert db.execute("SELECT * FROM total").fetchall() == [("n", "k", 2.0, "old")]
    db.close()


def test_a_step_that_fails_leaves_the_version_before_it() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        upgrade(db, (*UPGRADES, ("ALTER TABLE total ADD COLUMN fine TEXT", "no such statement")))
    assert version(db) == len(UPGRADES)
    assert "fine" not in [c[1] for c in db.execute("PRAGMA table_info(total)")]
    db.close()


def test_a_checkpoint_puts_the_log_into_the_file(tmp_path: Path) -> None:
    database = Database(tmp_path, 0.0)
    put(database)
    database.checkpoint()
    copy = tmp_path / "copy.db"  # as after a power cut, without the log
    copy.write_bytes((tmp_path / FILE).read_bytes())
    db = sqlite3.connect(copy)
    assert db.execute("SELECT count(*) FROM total").fetchone() == (1,)
    db.close()
    database.close()


@contextmanager
def no_room(at_most: int = 4096) -> Iterator[None]:
    """No file of this process can be written beyond so many bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at_most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_there_is_read_on_a_full_disk_and_written_on_when_there_is_room(tmp_path: Path) -> None:
    first = Database(tmp_path, 0.0)
    put(first)
    first.close()
    with no_room():
        second = Database(tmp_path, 0.0)
        assert rows(second) == [("n", "k", 1.5)]
        with pytest.raises(sqlite3.OperationalError):
            second.db.execute("INSERT INTO total VALUES ('n', ?, 2.5)", ("long" * 4000,))
    second.db.execute("INSERT INTO total VALUES ('n', 'k2', 2.5)")
    second.checkpoint()
    second.close()
    third = Database(tmp_path, 0.0)
    assert len(rows(third)) == 2
    third.close()


def test_a_file_that_lacks_a_table_is_set_aside(tmp_path: Path) -> None:
    first = Database(tmp_path, 0.0)
    first.db.execute("DROP TABLE work")
    first.close()
    second = Database(tmp_path, 0.0)
    assert second.was_damaged == "no table work"
    second.close()


def test_a_damaged_file_that_cannot_be_set_aside_is_the_disks_fault(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 400)
    (tmp_path / f"{FILE}.damaged-5").mkdir()  # what it would be called
    with pytest.raises(DiskError, match="cannot be set aside"):
        Database(tmp_path, 5.0)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_somebody_took_away_is_told(tmp_path: Path, replaced: bool) -> None:
    database = Database(tmp_path, 0.0)
    (tmp_path / FILE).rename(tmp_path / "elsewhere")
    if replaced:
        (tmp_path / FILE).write_bytes(b"")
    with pytest.raises(sqlite3.OperationalError, match="removed or replaced"):
        database.checkpoint()
    database.close()
