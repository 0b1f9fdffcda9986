"""Exports that wait for the joules of their requests, oldest first. What waits is bounded."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Container
from dataclasses import dataclass

MAX_BYTES = 16_000_000  # of all that waits: bodies, compressed, and what is kept besides
CROWDED_BYTES = 12_000_000  # from here on the oldest waits no longer: a trace without joules is better than none
HELD_BYTES, KEY_BYTES = 1_000, 400  # that a body and each of its requests take besides

Key = tuple[str, str]  # trace id, span id


@dataclass(frozen=True, slots=True)
class Held:
    """A body that waits. packed: compressed. until_s: mono; it waits no longer."""

    content_type: str
    packed: bytes
    keys: tuple[Key, ...]
    until_s: float

    @property
    def bytes(self) -> int:
        """About what it takes of the memory: a body of many small spans is mostly their keys."""
        return len(self.packed) + HELD_BYTES + KEY_BYTES * len(self.keys)


class Waiting:
    """In the order in which they came. For one thread at a time."""

    def __init__(self) -> None:
        self._all: deque[Held] = deque()
        self._keys: Counter[Key] = Counter()  # a span may come in two exports: sent again, as after a lost answer
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def is_crowded(self) -> bool:
        return self.bytes > CROWDED_BYTES

    def add(self, held: Held) -> int:
        """How many there was no room for: the oldest are gone."""
        self._all.append(held)
        self._keys.update(held.keys)
        self.bytes += held.bytes
        dropped = 0
        while self.bytes > MAX_BYTES:
            self.remove(self._all[0])
            dropped += 1
        return dropped

    def due(self, now_s: float, known: Container[Key], *, all_are: bool) -> Held | None:
        """The oldest whose requests are all known, or that waits no longer. It stays."""
        all_are = all_are or self.is_crowded
        for held in self._all:
            if all_are or held.until_s <= now_s or all(key in known for key in held.keys):
                return held
        return None

    def remove(self, held: Held) -> list[Key]:
        """Its keys that nothing waits for any more. It may be gone already."""
        if held not in self._all:
            return []
        self._all.remove(held)
        self.bytes -= held.bytes
        self._keys.subtract(held.keys)
        gone = [key for key in held.keys if self._keys[key] <= 0]
        for key in gone:
            del self._keys[key]
        return gone
