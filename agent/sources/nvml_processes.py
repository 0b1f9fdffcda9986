"""Which processes used one GPU, by the driver's samples of their SM utilisation.

What the driver tells of a process is the mean since the time that it is asked from, in which the samples when others
ran count as zero. So asking from the newest sample that is known gives the whole time, however seldom one asks, and
each process its part of it. Measured on an H100 with driver 580.159: a sample every 200 ms, an answer takes 2.3 ms.
"""

from __future__ import annotations

from agent.model import Instant, ProcessUse
from agent.ports import Clock
from agent.sources.nvml_binding import Handle, NvmlBinding
from agent.sources.nvml_capability import SHARE, Capability, Pace
from agent.sources.nvml_errors import NOT_FOUND, SUCCESS, NvmlFailure

SHARED_SHARE = 0.0025  # of the time may go to asking while several processes use the GPU: their parts change quickly
SHARED_FOR_S = 60.0  # after several were seen: an H100 books each sample to one of them, so an answer may miss the rest
SAMPLE_S = 1.0  # without a new sample for so long nobody uses the GPU: drivers take one to six a second
RECENT_US = 1_000_000  # an answer that was asked from no time goes back minutes: what is older than this is over


class ProcessSamples:
    """SM utilisation of each process of one GPU."""

    def __init__(self, binding: NvmlBinding, label: str) -> None:
        self._nvml = binding
        self._samples = Capability(label, "SM utilisation per process")
        self._newest_us = 0  # by the driver's clock, which is the machine's
        self._sampled_s = float("-inf")
        self._several_s = float("-inf")
        self._uses: tuple[ProcessUse, ...] | None = None
        self._pace = Pace()

    def told(self, clock: Clock, handle: Handle) -> tuple[ProcessUse, ...] | None:
        """What the last answer said. (): nobody used the GPU; None: not known."""
        now = clock.now()
        if self._uses is None or self._pace.is_due(now.mono_s):
            self._uses = self._ask(handle, now)
            if self._uses and len(self._uses) > 1:
                self._several_s = now.mono_s
            shared = now.mono_s - self._several_s < SHARED_FOR_S
            self._pace.took(now.mono_s, clock.now().mono_s, SHARED_SHARE if shared else SHARE)
        return self._uses

    def _ask(self, handle: Handle, now: Instant) -> tuple[ProcessUse, ...] | None:
        # A clock that was set back would otherwise hide every sample until it is where it was.
        set_back = now.wall_s * 1e6 < self._newest_us - RECENT_US
        since_us = 0 if set_back else self._newest_us

        def ask() -> list[tuple[int, int, int]]:
            try:
                return self._nvml.process_samples(handle, since_us)
            except NvmlFailure as failure:
                if failure.code in (SUCCESS, NOT_FOUND):
                    return []
                raise

        samples = self._samples.ask(ask, now.mono_s)
        if samples is None:
            return None
        newest_us = max((at_us for _, _, at_us in samples), default=0)
        if not samples or newest_us == self._newest_us:
            # Asked again within one sample, the last answer holds; after that, nobody uses the GPU.
            return self._uses if now.mono_s - self._sampled_s < SAMPLE_S else ()
        self._newest_us, self._sampled_s = newest_us, now.mono_s
        from_us = since_us or newest_us - RECENT_US
        latest: dict[int, tuple[int, int]] = {}
        for pid, percent, at_us in samples:
            if at_us >= from_us and at_us >= latest.get(pid, (0, 0))[0]:
                latest[pid] = (at_us, percent)
        return tuple(ProcessUse(pid, min(max(percent / 100, 0.0), 1.0)) for pid, (_, percent) in sorted(latest.items()))
