"""What strangers may use of the agent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection; how many there may be is a setting."""

    exchange_s: float = 10.0  # from a request's first byte, or the connection's begin, to the answer's last byte
    keep_alive_s: int = 20  # longer than the usual scrape interval of 15 s
    handshake_s: float = 5.0  # TLS, and its farewell
    header_bytes: int = 16_384
    finish_s: float = 0.3  # what answers under way get when the server stops
