"""Asks only for what changed: the validators of the last answers of some URLs, and the bodies they stand for.

A server that names a version of what it sent (ETag, Last-Modified: RFC 9110, 8.8) answers 304 and no body while that is
still its last word. To a provider a 304 is then the same answer once more, read at the time of now: what it says is no
older than the moment at which the server said so. Bounded in number and size; a body that may be cut off, or that the
server asks nobody to store, is not kept.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_KEPT = 8
MAX_KEPT_BYTES = 1_000_000  # of one body as it came; JSON and CSV shrink to a tenth of that
_MAX_VALIDATOR_CHARS = 256
_QUESTIONS = (("etag", "if-none-match"), ("last-modified", "if-modified-since"))


@dataclass(frozen=True, slots=True)
class _Version:
    questions: Mapping[str, str]
    packed: bytes = field(repr=False)


class Versions:
    """What was answered last, by URL and by who asked. Safe to use from any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, _Version] = OrderedDict()
        self._lock = threading.Lock()

    def questions(self, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The headers that ask whether anything changed; none if nothing is kept."""
        version = self._version(url, headers)
        return {} if version is None else version.questions

    def unchanged(self, url: str, headers: Mapping[str, str]) -> bytes | None:
        """The body that a 304 stands for; None if nothing is kept."""
        version = self._version(url, headers)
        return None if version is None else zlib.decompress(version.packed)

    def keep(self, url: str, headers: Mapping[str, str], said: Mapping[str, str], body: bytes) -> None:
        """The body of a 200 and the headers that came with it, names in lower case."""
        key = _key(url, headers)
        asks = {asked: said[told] for told, asked in _QUESTIONS if 0 < len(said.get(told, "")) <= _MAX_VALIDATOR_CHARS}
        whole = "content-length" in said or "transfer-encoding" in said
        storable = whole and len(body) <= MAX_KEPT_BYTES and "no-store" not in said.get("cache-control", "").lower()
        with self._lock:
            self._kept.pop(key, None)
            if asks and storable:
                self._kept[key] = _Version(asks, zlib.compress(body, 1))
                if len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)

    def _version(self, url: str, headers: Mapping[str, str]) -> _Version | None:
        with self._lock:
            return self._kept.get(_key(url, headers))


def _key(url: str, headers: Mapping[str, str]) -> bytes:
    """A digest, since a key may stand in either: two of them never get each other's answers."""
    return hashlib.sha256(repr((url, sorted(headers.items()))).encode()).digest()
