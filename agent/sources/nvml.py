"""NVIDIA GPUs: energy counters and power, by NVML.

Everything that NVML is asked runs in one thread of its own, with a deadline: a driver that hangs costs readings, not
the agent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

from agent.errors import ReadFailed, Unavailable
from agent.model import DeviceKind, Reading
from agent.ports import Clock, Finding
from agent.sources.nvml_binding import NvmlBinding
from agent.sources.nvml_device import Wants
from agent.sources.nvml_gpus import NvmlGpus
from agent.sources.worker import Worker

T = TypeVar("T")

DEADLINE_S = 5.0
LOOK_S = 0.25  # how often a waiting read looks whether the agent is to stop
STOPPING_S = 0.5  # and how long it then waits at most: the agent has two seconds to go
GOODBYE_S = 1.0

NO_ANSWER = "the NVIDIA driver does not answer"
NO_ANSWER_FIX = "a call into the driver hangs, as nvidia-smi will; the kernel's log (dmesg, Xid) says more"


class NvmlSource:
    """Reads every GPU that NVML shows, by UUID.

    wants: what to ask for beyond energy and power. Dear (50 to 100 ms a call on some drivers), so it is asked the less
    often the longer it takes.
    deadline_s: how long read() and probe() wait for the driver. What comes later is thrown away, so that readings
    stay in order; counters carry its energy into the next reading.

    Reading.error is one of a small fixed set of texts, and stands beside power_w when only the counter failed.
    """

    name = "nvml"

    def __init__(
        self,
        clock: Clock,
        *,
        wants: Wants = Wants(),  # noqa: B008 - frozen
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self._gpus = NvmlGpus(clock, NvmlBinding(), wants)
        self._worker = Worker("nvml")
        self._late: Future[object] | None = None

    def read(self) -> Sequence[Reading]:
        """One reading per GPU, also of those that are gone.

        Raises Unavailable or ReadFailed while there is no driver or no GPU; a driver that appears is found within
        half a minute.
        """
        try:
            return self._in_time(self._gpus.read)
        except TimeoutError:
            now = self._clock.now()
            known = self._gpus.known
            if not known:
                raise ReadFailed(f"{NO_ANSWER}: {NO_ANSWER_FIX}") from None
            return [Reading(k.device, now, name=k.name, index=k.index, error=NO_ANSWER) for k in known]

    def probe(self) -> Sequence[Finding]:
        """One finding per GPU, or one that says why there is none."""
        try:
            return self._in_time(self._gpus.probe)
        except TimeoutError:
            return [_no_finding(NO_ANSWER, NO_ANSWER_FIX)]
        except Unavailable as why:
            return [_no_finding(why.reason, why.fix)]
        except ReadFailed as why:
            return [_no_finding(why.reason)]

    def residents(self) -> dict[str, frozenset[int]]:
        """By UUID, the processes that hold memory of each GPU, or of each MIG instance of one. Some drivers take 5 ms
        a call and hold up the GPU meanwhile: for `joulecar check`. Empty where nothing can be told."""
        try:
            return self._in_time(self._gpus.residents)
        except (TimeoutError, Unavailable, ReadFailed):
            return {}

    def close(self) -> None:
        """Let go of the driver; of one that hangs, by leaving it alone. Safe to call twice."""
        self._gpus.stop()
        self._worker.submit(self._gpus.close)
        hangs = self._late is not None and not self._late.done()
        self._worker.stop(LOOK_S if hangs else GOODBYE_S)

    def _in_time(self, job: Callable[[], T]) -> T:
        """The job's result. Raises TimeoutError if it is not there in time, and at once while an earlier job that
        was not in time still runs."""
        if self._late is not None:
            if not self._late.done():
                raise TimeoutError
            self._late = None
        future = self._worker.submit(job)
        left_s = self._deadline_s
        while left_s > 0:
            wait_s = min(left_s, LOOK_S)
            if wait([future], wait_s).done:
                return future.result()
            left_s -= wait_s
            if not self._clock.wait_until(-math.inf):  # does not wait: it tells whether the clock was stopped
                left_s = min(left_s, STOPPING_S)
        self._late = future  # type: ignore[assignment]  # Future is invariant, and only done() is asked
        raise TimeoutError


def _no_finding(detail: str, fix: str = "") -> Finding:
    return Finding("nvml", ok=False, kind=DeviceKind.GPU, detail=detail, fix=fix)
