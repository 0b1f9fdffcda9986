"""How busy each MIG instance of one GPU was, by NVML's GPU performance monitoring (GPM: Hopper and newer).

A GPU instance's activity is the share of its SMs that had work, averaged over the time between two samples of the
driver's counters (NVML_GPM_METRIC_SM_UTIL; where that alone is not told, the part of the time in which it computed,
NVML_GPM_METRIC_GRAPHICS_UTIL). NVIDIA counts it per GPU instance, so of two compute instances that share one nothing
is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.ports import Clock
from agent.sources.nvml_binding import GpmSample, Handle, MigDevice, NvmlBinding
from agent.sources.nvml_capability import Capability, Pace
from agent.sources.nvml_errors import NO_PERMISSION, NOT_SUPPORTED, NvmlFailure

SHARE = 0.005  # of the time may go to asking one GPU: an answer that is held is told of a time when it did not hold
SHORTEST_S = 0.2  # between two samples: over less, one kernel more or less is the difference

PERMISSION_FIX = (
    "to share by the activity of MIG instances, run Joulecar as root or with CAP_SYS_ADMIN, or load the driver with "
    "NVreg_RestrictProfilingToAdminUsers=0, which opens its performance counters to everybody"
)


class InstanceActivity:
    """Samples of one GPU's instances, and what lies between the last two."""

    def __init__(self, binding: NvmlBinding, label: str) -> None:
        self._nvml = binding
        self._asked = Capability(label, "activity of MIG instances")
        self._pace = Pace(SHORTEST_S, SHARE)
        self._supported = False
        self._last: dict[int, GpmSample] = {}  # by GPU instance
        self._busy: dict[str, float] = {}

    def told(self, clock: Clock, handle: Handle, devices: Sequence[MigDevice]) -> Mapping[str, float]:
        """By UUID, the busy share of the instance's SMs, 0..1, between the last two samples. Instances of which the
        driver does not tell it, or not yet, are left out. Raises NvmlFailure if the driver is another one."""
        now_s = clock.now().mono_s
        if self._pace.is_due(now_s):
            busy = self._asked.ask(lambda: self._ask(handle, devices), now_s)
            self._pace.took(now_s, clock.now().mono_s)
            if busy is None:
                self.forget()
            self._busy = busy or {}
        return self._busy

    @property
    def answered(self) -> bool:
        return self._asked.answered and not self._asked.off

    @property
    def why_not(self) -> str:
        """Why nothing is told; "": it is, or nobody asked."""
        return self._asked.error or ""

    @property
    def failing(self) -> bool:
        """Did the last try fail, and will there be another one?"""
        return self._asked.error is not None and not self._asked.off

    @property
    def forbidden(self) -> bool:
        return self._asked.off and self._asked.code == NO_PERMISSION

    def forget(self) -> None:
        """Begin anew with the next sample."""
        for sample in self._last.values():
            self._nvml.gpm_free(sample)
        self._last, self._busy = {}, {}

    def _ask(self, handle: Handle, devices: Sequence[MigDevice]) -> dict[str, float]:
        if not self._supported and not self._nvml.gpm_supported(handle):
            raise NvmlFailure(NOT_SUPPORTED, "nvmlGpmQueryDeviceSupport")
        self._supported = True
        owners: dict[int, list[str]] = {}
        for device in devices:
            if device.gpu_instance is not None:
                owners.setdefault(device.gpu_instance, []).append(device.uuid)
        busy: dict[str, float] = {}
        for gone in self._last.keys() - owners.keys():
            self._nvml.gpm_free(self._last.pop(gone))
        for gpu_instance, uuids in owners.items():
            if len(uuids) > 1:
                continue
            sample = self._nvml.gpm_sample(handle, gpu_instance)
            before = self._last.get(gpu_instance)
            self._last[gpu_instance] = sample
            if before is not None:
                try:
                    busy[uuids[0]] = min(max(self._nvml.gpm_busy(before, sample), 0.0), 1.0)
                finally:
                    self._nvml.gpm_free(before)
        return busy
