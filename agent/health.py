"""How each part is doing. Speaks when a part breaks and when it heals; counts everything between."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace

from agent.model import Part, PartHealth

log = logging.getLogger("joulecar")

MAX_REFUSED = 200  # names of fields are ours, not a server's; should they ever be many, the rest is one
OTHER_FIELD = "_other"


class Health:
    """The parts' states, safe to write from any thread."""

    def __init__(self) -> None:
        self._parts: dict[tuple[Part, str], PartHealth] = {}
        self._absent: dict[tuple[Part, str], str] = {}
        self._refused: dict[tuple[str, str, str], int] = {}
        self._before: dict[tuple[Part, str], int] = {}
        self._lock = threading.Lock()

    def go_on_from(self, errors: Mapping[tuple[Part, str], int]) -> None:
        """Errors that were counted before the agent restarted. Call it once, early."""
        with self._lock:
            self._before = dict(errors)
            for key, count in errors.items():
                if (now := self._parts.get(key)) is not None:
                    self._parts[key] = replace(now, errors_total=now.errors_total + count)

    def ok(self, part: Part, name: str, wall_s: float, message: str = "") -> None:
        """It worked. wall_s: Unix time."""
        with self._lock:
            old = self._parts.get((part, name))
            errors = old.errors_total if old else self._before.get((part, name), 0)
            self._parts[part, name] = PartHealth(part, name, True, errors, wall_s, message)
        if old is None and message:
            log.info("%s %s: %s", part, name, message)
        elif old is not None and not old.up:
            log.info("%s %s is back after %d errors", part, name, old.errors_total)
        elif old is not None and message and old.message != message:
            log.info("%s %s: %s", part, name, message)

    def failed(self, part: Part, name: str, reason: str, fix: str = "") -> None:
        """It did not work. Logged when it breaks and when the reason changes, not each time."""
        with self._lock:
            before = PartHealth(part, name, True, self._before.get((part, name), 0))
            old = self._parts.get((part, name)) or before
            self._parts[part, name] = replace(old, up=False, errors_total=old.errors_total + 1, message=reason, fix=fix)
        if old.up or old.message != reason:
            log.warning("%s %s: %s%s", part, name, reason, f" - {fix}" if fix else "")

    def absent(self, part: Part, name: str, reason: str, fix: str = "") -> None:
        """It is not there and need not be (no GPU, say): told once, and no part of this agent. If it was there
        before, that is a failure."""
        with self._lock:
            known = (part, name) in self._parts
            news = self._absent.get((part, name)) != reason
            self._absent[part, name] = reason
        if known:
            self.failed(part, name, reason, fix)
        elif news:
            log.info("%s %s: %s%s", part, name, reason, f" - {fix}" if fix else "")

    def refused(self, provider: str, field: str, reason: str) -> None:
        """An answer of a grid provider that is not taken: counted. That the part failed is told to failed()."""
        with self._lock:
            key = (provider, field, reason)
            if key not in self._refused and len(self._refused) >= MAX_REFUSED:
                key = (provider, OTHER_FIELD, reason)
            self._refused[key] = self._refused.get(key, 0) + 1

    def refusals(self) -> Mapping[tuple[str, str, str], int]:
        """How many answers were refused so far, by provider, field and reason."""
        with self._lock:
            return dict(self._refused)

    def states(self) -> tuple[PartHealth, ...]:
        with self._lock:
            return tuple(self._parts[key] for key in sorted(self._parts))
