"""nvidia-ml-py, loaded when it is first needed, with typed calls and with a way to let go of the library.

nvidia-ml-py never unloads libnvidia-ml: after a driver upgrade the old one answers "version mismatch" for ever. So
close() also drops what nvidia-ml-py caches and closes the library, and open() then finds the new one.
"""

from __future__ import annotations

import _ctypes
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from agent.sources.nvml_errors import NOT_FOUND, NOT_READY, NOT_SUPPORTED, SUCCESS, Action, NvmlFailure

POWER_INSTANT = 186  # NVML_FI_DEV_POWER_INSTANT, mW, all architectures that have it
SCOPE_GPU = 0
NOT_AVAILABLE = 0xFFFF_FFFF  # NVML_VALUE_NOT_AVAILABLE
BYTES_PER_MB = 2**20  # as NVML counts memorySizeMB

# nvmlValueType_t -> the union's member
_VALUE_MEMBER = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}

# NVML_GPM_METRIC_*, in percent; the first that the driver tells is taken
GPM_SM_UTIL = 2  # SMs that were busy
GPM_GRAPHICS_UTIL = 1  # time in which anything computed
GPM_METRICS = (GPM_SM_UTIL, GPM_GRAPHICS_UTIL)

Handle = Any  # a ctypes pointer: valid until close(), and only for the GPU that it was asked for
GpmSample = Any  # likewise: the driver's counters of one GPU instance at one moment; to be freed


@dataclass(frozen=True, slots=True)
class MigDevice:
    """A MIG instance as it is seen now. gpu_instance: the driver's number of what its activity is counted by; None:
    not told. sms: SMs of that; 0: not told."""

    uuid: str
    memory_bytes: int
    sms: float
    gpu_instance: int | None
    handle: Handle


class NvmlBinding:
    """The few NVML calls that Joulecar makes. Each raises NvmlFailure; units are NVML's own (mW, mJ, us).

    Not for several threads at once: close() would pull the library away from under a call.
    """

    def __init__(self) -> None:
        self._pynvml: Any = None
        self._open = False
        self._samples: dict[int, GpmSample] = {}  # that are not freed

    @property
    def is_open(self) -> bool:
        return self._open

    def open(self) -> None:
        """Load the library and initialise it. What is half open after a failure is closed again."""
        if self._pynvml is None:
            import pynvml  # noqa: PLC0415 - 3 MB, and needless where NVML is off

            self._pynvml = pynvml
        try:
            self._call("nvmlInit")
        except NvmlFailure:
            self._unload()
            raise
        self._open = True

    def close(self) -> None:
        """Shut NVML down and drop the library, whatever state it is in."""
        if self._open:
            for sample in list(self._samples.values()):
                self.gpm_free(sample)
            self._open = False
            with suppress(NvmlFailure):  # a driver that went away cannot be told good-bye
                self._call("nvmlShutdown")
            self._unload()

    def _unload(self) -> None:
        pynvml = self._pynvml
        with pynvml.libLoadLock:
            library, pynvml.nvmlLib = pynvml.nvmlLib, None
            pynvml._nvmlGetFunctionPointer_cache.clear()
        if library is not None:
            _ctypes.dlclose(library._handle)

    def _call(self, name: str, *args: object) -> Any:
        try:
            return getattr(self._pynvml, name)(*args)
        except self._pynvml.NVMLError as error:
            raise NvmlFailure(int(error.value), name) from None

    def count(self) -> int:
        return int(self._call("nvmlDeviceGetCount"))

    def handle(self, index: int) -> Handle:
        return self._call("nvmlDeviceGetHandleByIndex", index)

    def uuid(self, handle: Handle) -> str:
        return str(self._call("nvmlDeviceGetUUID", handle))

    def device_name(self, handle: Handle) -> str:
        return str(self._call("nvmlDeviceGetName", handle))

    def energy_mj(self, handle: Handle) -> int:
        return int(self._call("nvmlDeviceGetTotalEnergyConsumption", handle))

    def power_instant_mw(self, handle: Handle) -> float:
        """The power of about the last 100 ms or less. The call succeeds if any field does: the field's own code is
        the one that counts."""
        name = "nvmlDeviceGetFieldValues"
        values = self._call(name, handle, [(POWER_INSTANT, SCOPE_GPU)])
        field = values[0]
        if field.nvmlReturn != 0:
            raise NvmlFailure(int(field.nvmlReturn), name)
        member = _VALUE_MEMBER.get(field.valueType)
        if member is None:
            raise NvmlFailure(NOT_SUPPORTED, name)
        return _available(float(getattr(field.value, member)), name)

    def power_usage_mw(self, handle: Handle) -> float:
        """The power now, or, on Ampere (but GA100) and newer, the mean of the last second."""
        name = "nvmlDeviceGetPowerUsage"
        return _available(float(self._call(name, handle)), name)

    def enforced_limit_mw(self, handle: Handle) -> int:
        return int(self._call("nvmlDeviceGetEnforcedPowerLimit", handle))

    def highest_limit_mw(self, handle: Handle) -> int:
        """The highest limit that an administrator can set."""
        return int(self._call("nvmlDeviceGetPowerManagementLimitConstraints", handle)[1])

    def mig_enabled(self, handle: Handle) -> bool:
        return bool(self._call("nvmlDeviceGetMigMode", handle)[0])

    def instances(self, handle: Handle) -> list[MigDevice]:
        """The MIG instances that may be seen: in a container, those that were given."""
        found = []
        for index in range(int(self._call("nvmlDeviceGetMaxMigDeviceCount", handle))):
            try:
                found.append(self._instance(self._call("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)))
            except NvmlFailure as failure:
                if failure.code != NOT_FOUND:  # else a slot that is free
                    raise
        return found

    def _instance(self, instance: Handle) -> MigDevice:
        has = self._call("nvmlDeviceGetAttributes_v2", instance)
        # The attributes are of the compute instance: the whole GPU instance has as many more SMs as it has slices.
        sms = float(has.multiprocessorCount)
        if 0 < has.computeInstanceSliceCount < has.gpuInstanceSliceCount:
            sms *= has.gpuInstanceSliceCount / has.computeInstanceSliceCount
        try:
            gpu_instance = int(self._call("nvmlDeviceGetGpuInstanceId", instance))
        except NvmlFailure as failure:
            if failure.action is Action.REOPEN:
                raise
            gpu_instance = None
        return MigDevice(self.uuid(instance), int(has.memorySizeMB) * BYTES_PER_MB, sms, gpu_instance, instance)

    def gpm_supported(self, handle: Handle) -> bool:
        """Can the GPU's performance be monitored? Hopper and newer."""
        return bool(self._call("nvmlGpmQueryDeviceSupport", handle).isSupportedDevice)

    def gpm_sample(self, handle: Handle, gpu_instance: int) -> GpmSample:
        """The counters of one GPU instance now. handle: of the GPU. gpm_free() the sample."""
        sample = self._call("nvmlGpmSampleAlloc")
        self._samples[id(sample)] = sample
        try:
            self._call("nvmlGpmMigSampleGet", handle, gpu_instance, sample)
        except NvmlFailure:
            self.gpm_free(sample)
            raise
        return sample

    def gpm_free(self, sample: GpmSample) -> None:
        """Give a sample's memory back; close() has done so with those of before it."""
        if self._samples.pop(id(sample), None) is not None:
            with suppress(NvmlFailure):
                self._call("nvmlGpmSampleFree", sample)

    def gpm_busy(self, before: GpmSample, after: GpmSample) -> float:
        """Busy share between two samples of one GPU instance, 0..1 but for the driver's rounding. Needs no handle."""
        ask = self._gpm_query()
        for i, metric in enumerate(GPM_METRICS):
            ask.metrics[i].metricId = metric
        ask.numMetrics, ask.sample1, ask.sample2 = len(GPM_METRICS), before, after
        name = "nvmlGpmMetricsGet"
        self._call(name, ask)
        codes = []
        for i in range(len(GPM_METRICS)):
            code = int(ask.metrics[i].nvmlReturn)
            if code == SUCCESS and math.isfinite(ask.metrics[i].value):
                return float(ask.metrics[i].value) / 100
            codes.append(code)
        # A metric without a number is one that can be told, another time.
        raise NvmlFailure(NOT_READY if SUCCESS in codes else codes[-1], name)

    def _gpm_query(self) -> Any:
        ask = self._pynvml.c_nvmlGpmMetricsGet_t()
        ask.version = self._pynvml.NVML_GPM_METRICS_GET_VERSION
        return ask

    def resident_pids(self, handle: Handle) -> frozenset[int]:
        """Processes that hold memory of the GPU for computing, busy or not."""
        return frozenset(int(p.pid) for p in self._call("nvmlDeviceGetComputeRunningProcesses", handle))

    def process_samples(self, handle: Handle, since_us: int) -> list[tuple[int, int, int]]:
        """(pid, SM utilisation in percent, time in us) of processes that used the GPU after since_us.

        An empty list raises NvmlFailure with code 0 or 6, as nvidia-ml-py does; callers treat both as nothing.
        """
        samples = self._call("nvmlDeviceGetProcessUtilization", handle, since_us)
        return [(int(s.pid), int(s.smUtil), int(s.timeStamp)) for s in samples]


def _available(value: float, call: str) -> float:
    if value == NOT_AVAILABLE:
        raise NvmlFailure(NOT_SUPPORTED, call)
    return value
