"""Energy, grams and tokens by piece of time: added up as they are booked, coarser as they age, dropped in the end.

    width        kept        for
    5 minutes    9 days      the settlement of revised intensities
    15 minutes   95 days     budgets, whose days begin at midnight anywhere on Earth
    1 hour       400 days    reports

A row is about 150 bytes; one engine with one model makes some 5 rows for each piece of time, 14 MB in a year. Beyond
MAX_ROWS the oldest are dropped, whatever their age.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping

from agent.model import Entry, Ledger, TokenType, Use
from agent.pricing import BUCKET_S
from agent.store.schema import AMOUNTS, OWNER, WORK

DAY_S = 86_400
FINE_S, MIDDLE_S, COARSE_S = int(BUCKET_S), 900, 3600
STEPS = ((FINE_S, MIDDLE_S, 9 * DAY_S), (MIDDLE_S, COARSE_S, 95 * DAY_S))  # width, next width, kept for
KEEP_S = 400 * DAY_S
MAX_ROWS = 600_000

Doings = Mapping[tuple[str, str], tuple[float, float, float, float]]  # engine, model -> WORK

_PLUS = ", ".join(
    f"{a} = CASE WHEN excluded.{a} IS NULL THEN {a} ELSE ifnull({a}, 0) + excluded.{a} END" for a in AMOUNTS
)
# What joins a piece that is settled already was booked at what is known now: no difference yet.
_PLUS_BOOKED = "settled_gco2e = settled_gco2e + ifnull(excluded.gco2e, 0)"
_PLUS_SETTLED = (
    "settled_gco2e = CASE WHEN settled_gco2e IS NULL AND excluded.settled_gco2e IS NULL THEN NULL"
    " ELSE ifnull(settled_gco2e, ifnull(gco2e, 0))"
    " + ifnull(excluded.settled_gco2e, ifnull(excluded.gco2e, 0)) END"
)
_ADD_ENERGY = (
    f"INSERT INTO energy ({', '.join((*OWNER, *AMOUNTS))}) VALUES ({', '.join('?' * (len(OWNER) + len(AMOUNTS)))})"  # noqa: S608 - our own names
    f" ON CONFLICT DO UPDATE SET {_PLUS}, {_PLUS_BOOKED}"
)
_ADD_WORK = (
    f"INSERT INTO work (start_s, width_s, engine, model, {', '.join(WORK)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    f" ON CONFLICT DO UPDATE SET {', '.join(f'{w} = {w} + excluded.{w}' for w in WORK)}"
)


def add(db: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """What was booked, each to its piece of time. In the caller's transaction."""
    db.executemany(
        _ADD_ENERGY,
        (
            (
                int(e.bucket_s),
                FINE_S,
                e.zone,
                e.kind,
                e.engine,
                e.model,
                str(e.use),
                *(getattr(e, name) for name in AMOUNTS),
            )
            for e in entries
        ),
    )


def doings(before: Ledger, now: Ledger) -> Doings:
    """Tokens and requests that came between two states of the totals."""
    out: dict[tuple[str, str], list[float]] = {}
    places = {TokenType.PROMPT_COMPUTED: 0, TokenType.PROMPT_CACHED: 1, TokenType.GENERATED: 2}
    if now.tokens is not before.tokens:
        for (engine, model, kind), count in now.tokens.items():
            if more := count - before.tokens.get((engine, model, kind), 0.0):
                out.setdefault((engine, model), [0.0] * 4)[places[kind]] += more
    if now.requests is not before.requests:
        for key, count in now.requests.items():
            if more := count - before.requests.get(key, 0.0):
                out.setdefault(key[:2], [0.0] * 4)[3] += more
    return {who: (c[0], c[1], c[2], c[3]) for who, c in out.items()}


def add_work(db: sqlite3.Connection, bucket_s: float, done: Doings) -> None:
    """Tokens and requests of one piece of time, by engine and model."""
    rows = ((int(bucket_s), FINE_S, engine, model, *amounts) for (engine, model), amounts in done.items())
    db.executemany(_ADD_WORK, rows)


def entries(db: sqlite3.Connection, from_s: float, to_s: float = 2.0**40) -> Iterator[Entry]:
    """What was booked from one moment (Unix seconds, the pieces that begin then or later) to another."""
    sql = f"SELECT start_s, engine, model, use, zone, kind, {', '.join(AMOUNTS)} FROM energy"  # noqa: S608
    for row in db.execute(f"{sql} WHERE start_s >= ? AND start_s < ? ORDER BY start_s", (from_s, to_s)):
        start_s, engine, model, use, zone, kind, *amounts = row
        yield Entry(float(start_s), engine, model, Use(use), zone, kind, *amounts)


def by_owner(db: sqlite3.Connection, from_s: float) -> Iterator[Entry]:
    """What was booked since then (Unix seconds) by pieces of 15 minutes, engine and model: of a month with many models
    a fifteenth of the rows. use, zone and kind say nothing."""
    sums = ", ".join(f"sum({a})" for a in AMOUNTS)
    sql = f"SELECT start_s / ? * ?, engine, model, {sums} FROM energy WHERE start_s >= ? GROUP BY 1, 2, 3 ORDER BY 1"  # noqa: S608
    for start_s, engine, model, *amounts in db.execute(sql, (MIDDLE_S, MIDDLE_S, from_s)):
        yield Entry(float(start_s), engine, model, Use.UNASSIGNED, "", "", *amounts)


def compact(db: sqlite3.Connection, now_s: float, max_rows: int = MAX_ROWS) -> None:
    """Older pieces become coarser, the oldest are dropped. In the caller's transaction."""
    for width_s, next_s, kept_s in STEPS:
        until_s = (now_s - kept_s) // next_s * next_s
        _widen_energy(db, width_s, next_s, until_s)
        _widen_work(db, width_s, next_s, until_s)
    for table in ("energy", "work"):
        db.execute(f"DELETE FROM {table} WHERE start_s < ?", (now_s - KEEP_S,))  # noqa: S608
        (count,) = db.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
        if count > max_rows:
            sql = f"SELECT start_s FROM {table} ORDER BY start_s LIMIT 1 OFFSET ?"  # noqa: S608
            (first_s,) = db.execute(sql, (count - max_rows - 1,)).fetchone()
            db.execute(f"DELETE FROM {table} WHERE start_s <= ?", (first_s,))  # noqa: S608


def _widen_energy(db: sqlite3.Connection, width_s: int, next_s: int, until_s: float) -> None:
    sums = ", ".join(f"sum({a})" for a in AMOUNTS)
    names = ", ".join((*OWNER, *AMOUNTS, "settled_gco2e"))
    db.execute(
        f"INSERT INTO energy ({names}) SELECT start_s / ? * ?, ?, zone, kind, engine, model, use, {sums},"  # noqa: S608
        " CASE WHEN count(settled_gco2e) THEN sum(ifnull(settled_gco2e, ifnull(gco2e, 0))) END"
        " FROM energy WHERE width_s = ? AND start_s < ? GROUP BY 1, 2, zone, kind, engine, model, use"
        f" ON CONFLICT DO UPDATE SET {_PLUS}, {_PLUS_SETTLED}",
        (next_s, next_s, next_s, width_s, until_s),
    )
    db.execute("DELETE FROM energy WHERE width_s = ? AND start_s < ?", (width_s, until_s))


def _widen_work(db: sqlite3.Connection, width_s: int, next_s: int, until_s: float) -> None:
    sums = ", ".join(f"sum({w})" for w in WORK)
    plus = ", ".join(f"{w} = {w} + excluded.{w}" for w in WORK)
    db.execute(
        f"INSERT INTO work (start_s, width_s, engine, model, {', '.join(WORK)})"  # noqa: S608
        f" SELECT start_s / ? * ?, ?, engine, model, {sums} FROM work WHERE width_s = ? AND start_s < ?"
        f" GROUP BY 1, 2, engine, model ON CONFLICT DO UPDATE SET {plus}",
        (next_s, next_s, next_s, width_s, until_s),
    )
    db.execute("DELETE FROM work WHERE width_s = ? AND start_s < ?", (width_s, until_s))
