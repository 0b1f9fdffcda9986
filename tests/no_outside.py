"""A test that reaches for an address outside this machine fails, wherever the attempt is swallowed.

Python tells an audit hook of every connection and every name that is looked up. A hook cannot be taken off again, so
there is one for the whole run. Processes that a test starts are out of its sight: they get an environment that switches
the clouds' metadata off, and configurations that name their providers.
"""

from __future__ import annotations

import ipaddress
import sys
import threading
from typing import Any

_LOCAL_NAMES = frozenset(("localhost", "localhost.localdomain", ""))
# Addresses set aside for documentation and tests (RFC 5737): nobody answers there, and nothing is sent.
_NOBODY = tuple(map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))


class OutsideError(OSError):
    """What the caller of connect() gets; most take it for a network that is down."""


class Outside:
    """The attempts so far, by any thread."""

    def __init__(self) -> None:
        self._tried: list[str] = []
        self._lock = threading.Lock()

    def install(self) -> None:
        sys.addaudithook(self._heard)

    def take(self) -> list[str]:
        """The attempts since the last call."""
        with self._lock:
            tried, self._tried = self._tried, []
            return tried

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else ""  # a path is a socket of this machine
        elif event == "socket.getaddrinfo":
            host = arguments[0]
        else:
            return
        if is_outside(host):
            with self._lock:
                self._tried.append(f"{event} {host!r}")
            raise OutsideError(f"a test reached for {host!r}")


def is_outside(host: object) -> bool:
    """Does this host lead away from the machine? A name that is not localhost's would ask a name server."""
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text.lower().rstrip(".") not in _LOCAL_NAMES and not text.lower().endswith(".invalid")
    return not (address.is_loopback or address.is_unspecified or any(address in network for network in _NOBODY))
