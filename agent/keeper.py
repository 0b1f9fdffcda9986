"""Keeps the books: goes on from what an earlier run left, commits each tick before it is published, settles.

The disk is a part like any other: while it fails nothing is lost but the protection from a crash, the part is down,
and the first commit that works again writes all that changed meanwhile.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from agent import budget, remember
from agent.books import Books, Policy
from agent.health import Health
from agent.model import Entry, GridIntensity, Instant, Ledger, Part, Reading, Snapshot
from agent.ports import Clock
from agent.pricing import BUCKET_S, Tariffs
from agent.remember import NOTHING_TOLD, Identity
from agent.settings import BudgetSettings, Settings
from agent.sources.identity import identity
from agent.store.database import Database, DiskError
from agent.store.ledger_store import LedgerStore

log = logging.getLogger("joulecar")

STATE = "state"
FIX = "free space in agent.state_dir, or see to its rights"
SELF = "self_energy_j"
MEASURED = ("actual", "estimated")  # kinds of an intensity that only a revision changes
Final = Callable[[], tuple[GridIntensity, ...]]


def open_keeper(settings: Settings, policy: Policy, clock: Clock, health: Health, final: Final) -> Keeper:
    """What keeps the books, on disk if a directory is configured. A disk that cannot be used costs the protection
    from a crash, not the measuring.

    Raises JoulecarError: another agent uses the directory, or a later version wrote there.
    """
    who = identity(settings.sources.sysfs)
    folder, now_s = settings.agent.state_dir, clock.now().wall_s
    try:
        database = Database(folder, now_s)
    except DiskError as e:
        health.failed(Part.LEDGER, STATE, str(e), "totals are in memory until the next start")
        database = Database(None, now_s)
    if database.was_damaged:
        health.failed(Part.LEDGER, STATE, f"the file was damaged and set aside: {database.was_damaged}")
    if folder is None:
        log.info("no agent.state_dir: totals are in memory and begin anew with each start")
    return Keeper(
        LedgerStore(database, who, policy.site.currency), who, health, policy, final=final, budgets=settings.budgets
    )


class Keeper:
    """Called by the loop's thread alone, but for checkpoint()."""

    def __init__(
        self,
        store: LedgerStore,
        identity: Identity,
        health: Health,
        policy: Policy,
        *,
        final: Final = lambda: (),
        budgets: tuple[BudgetSettings, ...] = (),
    ) -> None:
        self._store = store
        self._identity = identity
        self._health = health
        self._policy = policy
        self._final = final
        self._told: tuple[GridIntensity, ...] = ()  # the final statements that are settled already
        self._late_s: set[float] = set()  # pieces of time that energy was booked to with less than the last word
        self._unsafe = False  # a power cut would take more than the last window
        self._on_disk = store.database.path is not None
        self._settings = budgets
        self._budgets: tuple[budget.BudgetState, ...] = ()
        self.self_energy_j: float | None = None  # as an earlier run left it

    def begin(self, at: Instant, tariffs: Tariffs = NOTHING_TOLD, readings: Sequence[Reading] = ()) -> Books:
        """The books of an earlier run, or new ones. readings: what hardware there is. Never raises: what cannot be read
        is told, and begun anew."""
        found = remember.resume(Ledger(), None, at, self._identity, self._policy, tariffs)
        try:
            loaded = self._store.load(at.wall_s)
            found = remember.resume(loaded.ledger, loaded.memory, at, self._identity, self._policy, tariffs, readings)
            self._budgets = tuple(
                budget.begin(b, self._store.entries_since(self._from_s(b, at.wall_s)), at.wall_s)
                for b in self._settings
            )
        except (sqlite3.Error, ValueError) as e:
            self._failed(e)
            self._budgets = tuple(budget.begin(b, (), at.wall_s) for b in self._settings)
            return found
        if loaded.problem:
            self._health.failed(Part.LEDGER, STATE, loaded.problem)
        self._health.go_on_from(_errors(loaded.extra))
        self.self_energy_j = loaded.extra.get(SELF)
        if loaded.memory is not None:
            log.info("going on from the books of %.0f s ago", at.wall_s - loaded.memory.at.wall_s)
        self.keep(found, self.self_energy_j)  # what a restart of the machine left waiting is booked by now
        return found

    def _from_s(self, b: BudgetSettings, now_s: float) -> float:
        from_s = budget.history_from_s(b, now_s)
        return max(from_s, self._store.costs_since_s) if b.quantity == "cost" else from_s

    def keep(self, books: Books, self_energy_j: float | None) -> None:
        """Commit; call it before the books are published. Never raises."""
        now_s = books.at.wall_s
        self._budgets = tuple(budget.advance(b, books.entries, now_s) for b in self._budgets)
        try:
            self._note_late(self._store.commit(books, self._extra(self_energy_j)))
            self._settle(now_s)
        except sqlite3.Error as e:
            self._failed(e)
            return
        if self._on_disk and not self._unsafe:
            self._health.ok(Part.LEDGER, STATE, now_s)

    def _note_late(self, written: Sequence[Entry]) -> None:
        """What was priced with less than the last word may be booked when that was told already: nobody tells it
        again."""
        for e in written:
            if e.unpriced_j > 0 or e.kind not in MEASURED:
                self._late_s.add(e.bucket_s)

    def _settle(self, now_s: float) -> None:
        final = self._final()
        changes = [] if final is self._told else _near_changes(final, self._told)
        late = _of(final, min(self._late_s), max(self._late_s) + BUCKET_S) if self._late_s else []
        if changes or late:
            self._store.settle([*changes, *(e for e in late if e not in changes)], now_s)
        self._told = final
        self._late_s.clear()

    def shown(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with what only the keeper knows."""
        return replace(
            snapshot,
            settlement_gco2e=self._store.settlement_g,
            budgets=tuple(budget.view(b, snapshot.at.wall_s) for b in self._budgets),
        )

    def checkpoint(self) -> None:
        """See that what is committed outlives a power cut. Waits for the disk: not for the loop's thread."""
        try:
            self._store.database.checkpoint()
        except sqlite3.Error as e:
            self._unsafe = True
            self._failed(e)
        else:
            self._unsafe = False

    def close(self) -> None:
        try:
            self._store.database.close()
        except sqlite3.Error as e:
            self._failed(e)

    def _failed(self, e: Exception) -> None:
        self._health.failed(Part.LEDGER, STATE, str(e), FIX)

    def _extra(self, self_energy_j: float | None) -> Mapping[str, float]:
        out = {f"error/{p.part}/{p.name}": float(p.errors_total) for p in self._health.states() if p.errors_total}
        if self_energy_j is not None:
            out[SELF] = self_energy_j
        return out


def _near_changes(now: Sequence[GridIntensity], before: Sequence[GridIntensity]) -> list[GridIntensity]:
    """Statements of the time in which any is new; its neighbours too, since a piece may lie in two."""
    known = set(before)
    new = [e for e in now if e not in known]
    first_s = min((e.valid_from_s for e in new), default=0.0) - BUCKET_S
    last_s = max((e.valid_to_s for e in new), default=0.0) + BUCKET_S
    return _of(now, first_s, last_s)


def _of(final: Sequence[GridIntensity], from_s: float, to_s: float) -> list[GridIntensity]:
    return [e for e in final if from_s < e.valid_to_s and e.valid_from_s < to_s]


def _errors(extra: Mapping[str, float]) -> dict[tuple[Part, str], int]:
    out = {}
    for key, count in extra.items():
        kind, _, rest = key.partition("/")
        part, _, name = rest.partition("/")
        if kind == "error" and part in set(Part):
            out[Part(part), name] = int(count)
    return out
