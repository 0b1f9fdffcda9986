"""The tables, and the way from each version of them to the next.

    total    every counter that is published, as it stands: ledger map, key, value
    memory   what the next start goes on from: meters, engines, energy that waits
    energy   roll-ups of what was booked: a piece of time, whose it is, joules and all that follows
    work     roll-ups of what engines did: a piece of time, engine, model, tokens, requests

Pieces of time are 5 minutes wide, a day or nine later 15 minutes, and three months later an hour (see rollups.py).
"""

from __future__ import annotations

import sqlite3

from agent.store.transaction import transaction

AMOUNTS = (
    "energy_j",
    "overhead_j",
    "facility_j",
    "it_gco2e",
    "gco2e",
    "market_gco2e",
    "marginal_gco2e",
    "embodied_gco2e",
    "water_l",
    "cost",
    "credit",
    "unpriced_j",
    "uncosted_j",
)
WORK = ("prompt_computed", "prompt_cached", "generated", "requests")
OWNER = ("start_s", "width_s", "zone", "kind", "engine", "model", "use")

_V1 = (
    "CREATE TABLE total (name TEXT NOT NULL, key TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (name, key))"
    " WITHOUT ROWID",
    "CREATE TABLE memory (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE energy (start_s INTEGER NOT NULL, width_s INTEGER NOT NULL, zone TEXT NOT NULL, kind TEXT NOT NULL,"
    " engine TEXT NOT NULL, model TEXT NOT NULL, use TEXT NOT NULL, energy_j REAL, overhead_j REAL, facility_j REAL,"
    " it_gco2e REAL, gco2e REAL, market_gco2e REAL, marginal_gco2e REAL, embodied_gco2e REAL, water_l REAL,"
    " cost REAL, credit REAL, unpriced_j REAL, uncosted_j REAL, settled_gco2e REAL,"
    " PRIMARY KEY (start_s, width_s, zone, kind, engine, model, use)) WITHOUT ROWID",
    "CREATE TABLE work (start_s INTEGER NOT NULL, width_s INTEGER NOT NULL, engine TEXT NOT NULL, model TEXT NOT NULL,"
    " prompt_computed REAL, prompt_cached REAL, generated REAL, requests REAL,"
    " PRIMARY KEY (start_s, width_s, engine, model)) WITHOUT ROWID",
)

# UPGRADES[n] makes version n + 1 of version n. A step is never edited once it was released.
UPGRADES: tuple[tuple[str, ...], ...] = (_V1,)
VERSION = len(UPGRADES)


class TooNewError(Exception):
    """The file was written by a later version of Joulecar."""


def version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def upgrade(db: sqlite3.Connection, steps: tuple[tuple[str, ...], ...] = UPGRADES) -> None:
    """From whatever version the file has to the last one, each step in one transaction.

    Raises TooNewError, and sqlite3.Error as the file gives it.
    """
    found = version(db)
    if found > len(steps):
        raise TooNewError(f"its version is {found}, and this Joulecar reads {len(steps)}")
    for number, step in enumerate(steps[found:], found + 1):
        with transaction(db):
            for statement in step:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")  # a number of ours; SQLite takes no parameter here
