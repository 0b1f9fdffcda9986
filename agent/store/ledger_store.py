"""Books to disk and back: what changed since the last commit, in one transaction, before it is published."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_type_hints

from agent.accounts import Account, Settlement
from agent.books import Books
from agent.codec import Codecs, MisfitError
from agent.model import Entry, GridIntensity, Ledger
from agent.pricing import BUCKET_S
from agent.remember import Identity, Memory, memory_of
from agent.store import rollups
from agent.store.database import Database
from agent.store.schema import AMOUNTS
from agent.store.settle import settle
from agent.store.texts import Texts
from agent.store.transaction import transaction

log = logging.getLogger("joulecar")

COMPACT_EVERY_S = 3600.0
EXTRA = "extra"  # totals that are not the ledger's: errors of parts, the agent's own energy
SETTLEMENT = "settlement_gco2e"
COSTS = ("cost", "credit")  # of the ledger: what is in a currency
CURRENCY = "currency"  # of the memory's names: what costs are counted in, and since when
BASIS = "settled_basis"  # of the memory's names: what final figures count, and since when

Key = tuple[str, str]
TYPES: Mapping[str, Any] = get_type_hints(Ledger)
MEMORY_TYPES: Mapping[str, Any] = get_type_hints(Memory)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an earlier run left."""

    ledger: Ledger = field(default_factory=Ledger)
    memory: Memory | None = None
    extra: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""  # why the memory could not be taken up; "": it was, or there is none


class LedgerStore:
    """One thread calls it: the loop's. commit() writes what changed; a failed one loses nothing, since the next one
    writes all that changed since the last good one."""

    def __init__(self, database: Database, identity: Identity, currency: str = "") -> None:
        """currency: of all costs; "": none are counted, and those of before stay as they are."""
        self.database = database
        self._db = database.db
        self._identity = identity
        self._codecs = Codecs()
        self._totals: dict[Key, float] = {}  # as they stand on disk
        self._saved = Ledger()
        self._remembered: dict[str, object] = {}  # the very values whose text stands on disk
        self._settlement = Texts(self._codecs, Settlement, (Settlement, Account))
        self._keys: dict[str, dict[object, str]] = {}  # of totals, by name: a counter's key is wanted at every tick
        self._entries: dict[tuple[object, ...], Entry] = {}  # booked, not on disk yet
        self._compacted_s = float("-inf")
        self._wall_s = float("inf")  # of the last commit that was tried
        self._basis: tuple[str, float] | None = None  # of final figures, and since when (Unix seconds)
        self._currency = currency
        self._priced_anew = False  # the costs on disk are of another currency
        self.costs_since_s = 0.0  # Unix seconds: what was booked before cost another currency
        self.settlement_g: dict[tuple[str, str], float] = {}

    def load(self, now_s: float = 0.0) -> Loaded:
        """Raises sqlite3.Error. Costs in another currency than today's are left out: they add up to no sum."""
        stored = dict(self._db.execute("SELECT name, value FROM memory"))
        self._note_currency(stored.pop(CURRENCY, None), now_s)
        self._totals = {(n, k): v for n, k, v in self._db.execute("SELECT name, key, value FROM total")}
        if self._priced_anew:
            self._totals = {key: v for key, v in self._totals.items() if key[0] not in COSTS}
        ledger, extra = self._ledger(), {}
        for (name, key), value in self._totals.items():
            if name == EXTRA:
                extra[key] = value
            elif name == SETTLEMENT:
                self.settlement_g[self._codecs.loads(key, tuple[str, str])] = value
        self._saved = ledger
        if BASIS in stored:
            self._basis = self._codecs.loads(stored.pop(BASIS), tuple[str, float])
        if not stored:
            return Loaded(ledger, None, extra)
        try:
            parts = {
                f.name: self._codecs.loads(stored[f.name], MEMORY_TYPES[f.name])
                for f in fields(Memory)
                if f.name in stored  # an older version knew fewer
            }
            return Loaded(ledger, Memory(**parts), extra)
        except (MisfitError, TypeError) as e:
            return Loaded(ledger, None, extra, f"{e}: written by another version; the time since is a gap")

    def _note_currency(self, text: str | None, now_s: float) -> None:
        if not self._currency:
            return
        before, since_s = (self._currency, 0.0) if text is None else self._codecs.loads(text, tuple[str, float])
        self._priced_anew = before != self._currency
        self.costs_since_s = (now_s // BUCKET_S + 1) * BUCKET_S if self._priced_anew else since_s
        if self._priced_anew:
            log.warning("costs were in %s, are in %s now, and begin anew", before, self._currency)

    def _ledger(self) -> Ledger:
        maps: dict[str, dict[Any, float]] = {}
        plain: dict[str, float] = {}
        for (name, key), value in self._totals.items():
            kind = TYPES.get(name)
            if kind is float:
                plain[name] = value
            elif kind is not None:
                try:
                    maps.setdefault(name, {})[self._codecs.loads(key, kind.__args__[0])] = value
                except MisfitError as e:  # costs this one total, not all of them
                    log.error("a total of %s is damaged and left out: %s", name, e)
        return replace(Ledger(), **maps, **plain)  # type: ignore[arg-type]  # by the ledger's own field names

    def commit(self, books: Books, extra: Mapping[str, float]) -> tuple[Entry, ...]:
        """Everything that changed. Gives what was booked since the last one that worked. Raises sqlite3.Error; then
        nothing was written."""
        self._note(books.entries)
        changed = dict(self._changed(books.ledger, extra))
        memory = memory_of(books, self._identity)
        texts = self._texts(memory)
        doings = rollups.doings(self._saved, books.ledger)
        wall_s = books.at.wall_s
        compacting = self._is_time_to_compact(wall_s)
        if self._currency and CURRENCY not in self._remembered:
            texts[CURRENCY] = self._codecs.dumps((self._currency, self.costs_since_s), tuple[str, float])
        with transaction(self._db):
            if self._priced_anew:
                self._db.execute("DELETE FROM total WHERE name IN (?, ?)", COSTS)
            self._put_totals(changed)
            self._put_memory(texts)
            rollups.add(self._db, self._entries.values())
            rollups.add_work(self._db, wall_s // BUCKET_S * BUCKET_S, doings)
            if compacting:
                rollups.compact(self._db, wall_s)
        self._totals.update(changed)
        self._saved = books.ledger
        self._remembered.update({name: getattr(memory, name, text) for name, text in texts.items()})
        self._priced_anew = False
        written = tuple(self._entries.values())
        self._entries.clear()
        if compacting:
            self._compacted_s = wall_s
        return written

    def _texts(self, memory: Memory) -> dict[str, str]:
        """Of what is another value than the one on disk."""
        texts: dict[str, str] = {}
        for f in fields(Memory):
            value = getattr(memory, f.name)
            if self._remembered.get(f.name) is value:
                continue
            if f.name == "named" and "last" in texts and value == memory.last:  # while every device can be read
                texts[f.name] = texts["last"]
            elif f.name == "settlement":
                texts[f.name] = self._settlement.dumps(value)
            else:
                texts[f.name] = self._codecs.dumps(value, MEMORY_TYPES[f.name])
        return texts

    def _is_time_to_compact(self, wall_s: float) -> bool:
        """Once an hour. A clock that leaps ahead, perhaps by mistake, must last an hour before anything is old."""
        if wall_s - self._wall_s > COMPACT_EVERY_S:
            self._compacted_s = wall_s
        self._wall_s = wall_s
        return not wall_s - COMPACT_EVERY_S < self._compacted_s <= wall_s

    def settle(self, final: Sequence[GridIntensity], now_s: float) -> Mapping[tuple[str, str], float]:
        """Re-price what is booked at final statements, of one basis. Gives the differences so far, by engine and
        model: what a report adds to the counters. Raises sqlite3.Error.

        Where the basis is another one than before (lifecycle, direct), what was booked until now stays as it is:
        the difference of two accounts is no revision.
        """
        basis, since_s = final[-1].basis, 0.0
        if self._basis is not None:
            since_s = self._basis[1] if self._basis[0] == basis else (now_s // BUCKET_S + 1) * BUCKET_S
        with transaction(self._db):
            if self._basis != (basis, since_s):
                self._put_memory({BASIS: self._codecs.dumps((basis, since_s), tuple[str, float])})
            added = settle(self._db, final, since_s)
            now = {who: self.settlement_g.get(who, 0.0) + g for who, g in added.items()}
            changed = {(SETTLEMENT, self._codecs.dumps(who, tuple[str, str])): g for who, g in now.items()}
            self._put_totals(changed)
        self._basis = (basis, since_s)
        self._totals.update(changed)
        self.settlement_g = {**self.settlement_g, **now}
        return self.settlement_g

    def entries_since(self, from_s: float) -> Iterator[Entry]:
        """What was booked in the pieces of time since then, for budgets. Raises sqlite3.Error."""
        return rollups.by_owner(self._db, from_s)

    def _put_totals(self, changed: Mapping[Key, float]) -> None:
        self._db.executemany(
            "INSERT INTO total VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
            ((name, key, value) for (name, key), value in changed.items()),
        )

    def _put_memory(self, texts: Mapping[str, str]) -> None:
        self._db.executemany(
            "INSERT INTO memory VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", texts.items()
        )

    def _changed(self, now: Ledger, extra: Mapping[str, float]) -> Iterator[tuple[Key, float]]:
        for name, kind in TYPES.items():
            amounts, before = getattr(now, name), getattr(self._saved, name)
            if amounts is before:
                continue
            if kind is float:
                if amounts != before:
                    yield (name, ""), amounts
                continue
            keys = self._keys.setdefault(name, {})
            for key, value in amounts.items():
                if before.get(key) != value:
                    if key not in keys:
                        keys[key] = self._codecs.dumps(key, kind.__args__[0])
                    yield (name, keys[key]), value
        for key, value in extra.items():
            if self._totals.get((EXTRA, key)) != value:
                yield (EXTRA, key), value

    def _note(self, entries: Sequence[Entry]) -> None:
        for e in entries:
            key = (e.bucket_s, e.zone, e.kind, e.engine, e.model, e.use)
            before = self._entries.get(key)
            self._entries[key] = e if before is None else _plus(before, e)


def _plus(a: Entry, b: Entry) -> Entry:
    sums = {}
    for name in AMOUNTS:
        x, y = getattr(a, name), getattr(b, name)
        sums[name] = y if x is None else x if y is None else x + y
    return replace(a, **sums)
