"""Which processes used one GPU, by the driver's samples of their SM utilisation."""

from __future__ import annotations

from agent.model import ProcessUse
from agent.ports import Clock
from agent.sources.nvml_binding import Handle, NvmlBinding
from agent.sources.nvml_capability import Capability, Pace
from agent.sources.nvml_errors import NOT_FOUND, SUCCESS, NvmlFailure

STALE_SAMPLE_S = 3.0  # without a new sample nobody uses the GPU: the driver goes on telling the last ones
OVERLAP_US = 1_000_000  # the driver samples about once a second: look back over one sample


class ProcessSamples:
    """SM utilisation of each process of one GPU."""

    def __init__(self, binding: NvmlBinding, label: str) -> None:
        self._nvml = binding
        self._samples = Capability(label, "SM utilisation per process")
        self._newest_us = 0
        self._sampled_s = float("-inf")
        self._uses: tuple[ProcessUse, ...] | None = None
        self._pace = Pace()

    def told(self, clock: Clock, handle: Handle) -> tuple[ProcessUse, ...] | None:
        """What the last answer said. (): nobody used the GPU; None: not known."""
        now_s = clock.now().mono_s
        if self._uses is None or self._pace.is_due(now_s):
            self._uses = self._ask(handle, now_s)
            self._pace.took(now_s, clock.now().mono_s)
        return self._uses

    def _ask(self, handle: Handle, now_s: float) -> tuple[ProcessUse, ...] | None:
        since_us = max(0, self._newest_us - OVERLAP_US)

        def ask() -> list[tuple[int, int, int]]:
            try:
                return self._nvml.process_samples(handle, since_us)
            except NvmlFailure as failure:
                if failure.code in (SUCCESS, NOT_FOUND):
                    return []
                raise

        samples = self._samples.ask(ask, now_s)
        if samples is None:
            return None
        newest_us = max((at_us for _, _, at_us in samples), default=0)
        if newest_us > self._newest_us:
            self._newest_us, self._sampled_s = newest_us, now_s
        elif now_s - self._sampled_s > STALE_SAMPLE_S:
            return ()
        latest: dict[int, tuple[int, int]] = {}
        for pid, percent, at_us in samples:
            # The first look may bring samples that are minutes old.
            if at_us >= newest_us - OVERLAP_US and at_us >= latest.get(pid, (0, 0))[0]:
                latest[pid] = (at_us, percent)
        return tuple(ProcessUse(pid, min(max(percent / 100, 0.0), 1.0)) for pid, (_, percent) in sorted(latest.items()))
