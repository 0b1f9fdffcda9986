"""How each part is doing. Speaks when a part breaks and when it heals; counts everything between."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from agent.model import Part, PartHealth

log = logging.getLogger("joulecar")


class Health:
    """The parts' states, safe to write from any thread."""

    def __init__(self) -> None:
        self._parts: dict[tuple[Part, str], PartHealth] = {}
        self._absent: dict[tuple[Part, str], str] = {}
        self._lock = threading.Lock()

    def ok(self, part: Part, name: str, wall_s: float, message: str = "") -> None:
        """It worked. wall_s: Unix time."""
        with self._lock:
            old = self._parts.get((part, name))
            errors = old.errors_total if old else 0
            self._parts[part, name] = PartHealth(part, name, True, errors, wall_s, message)
        if old is None and message:
            log.info("%s %s: %s", part, name, message)
        elif old is not None and not old.up:
            log.info("%s %s is back after %d errors", part, name, old.errors_total)

    def failed(self, part: Part, name: str, reason: str, fix: str = "") -> None:
        """It did not work. Logged when it breaks and when the reason changes, not each time."""
        with self._lock:
            old = self._parts.get((part, name)) or PartHealth(part, name, True)
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

    def states(self) -> tuple[PartHealth, ...]:
        with self._lock:
            return tuple(self._parts[key] for key in sorted(self._parts))
