"""What the clients and the driver's counter know: the truth that Joulecar's figures are held against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as its client saw it. Moments are of the wall clock."""

    trace_id: str
    load: str
    start_s: float
    first_s: float  # the first piece of the answer
    end_s: float
    prompt: int  # tokens
    generated: int
    prefill_s: float  # as the server told it
    above_rest_j: float | None = None  # by the driver's counter, less the power at rest; of one that ran alone


@dataclass(frozen=True, slots=True)
class Load:
    """A load, from its first request to its last answer. joules: by the driver's counter."""

    name: str
    seconds: float
    joules: float
    asked: tuple[Asked, ...]

    @property
    def prompt(self) -> int:
        return sum(a.prompt for a in self.asked)

    @property
    def generated(self) -> int:
        return sum(a.generated for a in self.asked)
