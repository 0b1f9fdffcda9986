"""Why a part of the agent has nothing to say. A part raises one of these; the loop lives on.

JoulecarError
  ConfigError    the configuration cannot be used: every fault at once
  Unavailable    this machine cannot do it; trying again soon is useless (fix says what would help)
  ReadFailed     it did not work this time
  TraceError     a recorded trace is not what it should be: names the line
"""

from __future__ import annotations

from dataclasses import dataclass


class JoulecarError(Exception):
    """Base of every error that Joulecar raises on purpose."""


@dataclass(frozen=True, slots=True)
class ConfigFault:
    """One thing that is wrong with the configuration: where, what, and what would be right."""

    path: str  # "agent.interval", "engine[0].url", "--listen"
    message: str
    suggestion: str = ""
    line: int | None = None  # of the file, where it is known

    def __str__(self) -> str:
        where = self.path if self.line is None else f"line {self.line}: {self.path}"
        return f"{where}: {self.message}" + (f" ({self.suggestion})" if self.suggestion else "")


class ConfigError(JoulecarError):
    """Every fault of a configuration, in one go."""

    def __init__(self, faults: tuple[ConfigFault, ...], origin: str = "") -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = faults
        self.origin = origin


class Unavailable(JoulecarError):  # noqa: N818 - a state of the world, named as such
    """This machine cannot do it."""

    def __init__(self, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.fix = fix


class ReadFailed(JoulecarError):  # noqa: N818
    """It did not work this time. retry_after_s: how long whoever was asked wants to be left alone, where they say."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class TraceError(JoulecarError):
    """A trace's line cannot be read: says which and why."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class TraceCutError(TraceError):
    """A trace ends in the middle of a line, as that of an agent which was killed does. All before it could be read."""
