"""What the loop asks of the world: each Protocol has a real adapter and a small fake in tests/fakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from agent.errors import JoulecarError
from agent.model import (
    DeviceKind,
    EngineFailure,
    EngineSample,
    GridIntensity,
    Instant,
    Method,
    Reading,
    Snapshot,
)


class Clock(Protocol):
    """Time, passed in so that a test need not wait for it."""

    def now(self) -> Instant: ...

    def wait_until(self, mono_s: float) -> bool:
        """False: stopped, do not go on."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a source found out about the machine: a device it can read, or why it cannot."""

    subject: str  # a device key, or what was looked for
    ok: bool
    kind: DeviceKind | None = None
    method: Method | None = None  # how the device's energy will be known
    detail: str = ""  # for people: name, counter, limit; or what is wrong
    fix: str = ""


class Source(Protocol):
    """Reads devices. One bad device never hides the others; nothing here sleeps or does arithmetic on
    intervals."""

    @property
    def name(self) -> str: ...

    def probe(self) -> Sequence[Finding]:
        """What is there and what is not, with the fix. Never raises."""
        ...

    def read(self) -> Sequence[Reading]:
        """One reading per device, failures included as Reading.error.

        Raises Unavailable or ReadFailed if the source as a whole has nothing to say; the next call tries again.
        """
        ...

    def close(self) -> None: ...


class EngineReader(Protocol):
    """Scrapes one engine. Never raises: a failure is a value."""

    @property
    def name(self) -> str: ...

    def sample(self) -> EngineSample | EngineFailure: ...

    def close(self) -> None: ...


class GridProvider(Protocol):
    """Tells a zone's carbon intensity."""

    @property
    def name(self) -> str: ...

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        """Intensities that cover now, and as much around it as the provider gives.

        Raises Unavailable (the zone is not the provider's) or ReadFailed.
        """
        ...


@runtime_checkable
class Lacking(Protocol):
    """A GridProvider whose answer may lack a part, such as the forecast."""

    @property
    def faults(self) -> Sequence[JoulecarError]:
        """Why the last answer lacks something; empty if nothing."""
        ...


class SnapshotSource(Protocol):
    """Where exporters get what they show."""

    def snapshot(self) -> Snapshot: ...
