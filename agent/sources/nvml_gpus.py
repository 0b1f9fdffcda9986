"""The GPUs of a machine over time: found, lost, back again, under another index, under another driver.

Handles and indices move when a GPU is lost or comes back, so GPUs are known by UUID. One thread at a time.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass

from agent.errors import JoulecarError, Unavailable
from agent.model import Device, DeviceKind, Reading
from agent.ports import Clock, Finding
from agent.sources import nvml_residents as residents
from agent.sources.nvml_binding import NvmlBinding
from agent.sources.nvml_capability import Pace
from agent.sources.nvml_device import Gpu, Wants
from agent.sources.nvml_errors import Action, NvmlFailure

log = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0  # for a driver that appears, and for GPUs that appear or come back
# NVML may list a GPU that is back only after a new start. That holds up every GPU for a moment, so it is tried after
# this long, and then after twice as long each time.
REOPEN_AFTER_S = 300.0
REOPEN_AT_LEAST_EVERY_S = 3600.0

NOT_LISTED = "the driver does not list this GPU any more"
NO_GPU = "the NVIDIA driver shows no GPU"
NO_GPU_FIX = "nvidia-smi -L should list the GPUs; in a container set NVIDIA_VISIBLE_DEVICES=all"


@dataclass(frozen=True, slots=True)
class Known:
    """A GPU that was seen at least once, for readings that say why nothing comes."""

    device: Device
    name: str
    index: int


class NvmlGpus:
    """All GPUs that NVML shows. Opens the driver when it is first asked, and again when it has to."""

    def __init__(self, clock: Clock, binding: NvmlBinding, wants: Wants) -> None:
        self._clock = clock
        self._nvml = binding
        self._wants = wants
        self.known: tuple[Known, ...] = ()  # swapped as a whole: another thread may look at it
        self._gpus: dict[str, Gpu] = {}  # by UUID, those that are gone too
        self._gone: dict[str, str] = {}  # UUID -> why
        self._said: dict[str, str] = {}  # UUID -> what the log says of it
        self._blind: dict[int, str] = {}  # index -> why not even its UUID is known
        self._count = 0
        self._failure: JoulecarError | None = None  # why NVML is not open
        self._open_after_s = float("-inf")
        self._look_after_s = float("-inf")
        self._reopen_after_s = float("inf")
        self._reopen_pause_s = REOPEN_AFTER_S
        self._residents_pace = Pace(residents.EVERY_S, residents.SHARE)
        self._stopped = False

    def read(self) -> list[Reading]:
        """Raises Unavailable or ReadFailed if there is no driver or no GPU."""
        now_s = self._clock.now().mono_s
        self._ensure_open(now_s)
        self._look(now_s)
        readings = {gpu.device.key: self._read_one(gpu) for gpu in self._in_order() if not self._stopped}
        return list(self._with_residents(readings, now_s).values())

    def _with_residents(self, readings: dict[str, Reading], now_s: float) -> dict[str, Reading]:
        """Who holds memory, of all GPUs at once, when their energy is read."""
        if not self._wants.residents or not self._residents_pace.is_due(now_s):
            return readings
        begun_s = self._clock.now().mono_s
        for gpu in self._in_order():
            uuid = gpu.device.key
            if uuid in readings and uuid not in self._gone and not self._stopped:
                with suppress(NvmlFailure):  # a driver that went away: the next reading finds out
                    readings[uuid] = gpu.with_residents(readings[uuid], now_s)
        self._residents_pace.took(now_s, now_s + self._clock.now().mono_s - begun_s)
        return readings

    def probe(self) -> list[Finding]:
        """Raises Unavailable or ReadFailed if there is no driver or no GPU."""
        readings = {r.device.key: r for r in self.read()}
        found = [gpu.finding(readings[gpu.device.key]) for gpu in self._in_order()]
        return found + [
            Finding(
                f"GPU {index}",
                ok=False,
                kind=DeviceKind.GPU,
                detail=why,
                fix="nvidia-smi should show what is wrong; a container must be given this GPU to read it",
            )
            for index, why in sorted(self._blind.items())
        ]

    def residents(self) -> dict[str, frozenset[int]]:
        """By UUID, the processes that hold memory of each GPU that tells, or of each of its MIG instances. Raises as
        read() does."""
        self.read()
        found: dict[str, frozenset[int]] = {}
        for gpu in self._in_order():
            with suppress(NvmlFailure):
                found |= {uuid: frozenset(pids) for uuid, pids in gpu.residents().items()}
        return found

    def stop(self) -> None:
        """From another thread: ask no further GPU."""
        self._stopped = True

    def close(self) -> None:
        self._nvml.close()

    def _in_order(self) -> list[Gpu]:
        return sorted(self._gpus.values(), key=lambda gpu: (gpu.index, gpu.device.key))

    def _read_one(self, gpu: Gpu) -> Reading:
        uuid = gpu.device.key
        if uuid not in self._gone:
            try:
                reading = gpu.read(self._clock, self._wants)
            except NvmlFailure as failure:
                if failure.action is Action.REOPEN:
                    self._reopen_if_lost(failure)
                self._lose(gpu, failure.text)
            else:
                if self._said.pop(uuid, None) is not None:
                    log.info("GPU %d (%s): is back", gpu.index, uuid)
                return reading
        why = self._gone[uuid]
        return Reading(gpu.device, self._clock.now(), name=gpu.name, index=gpu.index, error=why)

    def _lose(self, gpu: Gpu, why: str) -> None:
        uuid = gpu.device.key
        self._gone[uuid] = why
        if self._said.get(uuid) != why:
            self._said[uuid] = why
            log.warning("GPU %d (%s): %s; looking for it every %g s", gpu.index, uuid, why, LOOK_EVERY_S)

    def _ensure_open(self, now_s: float) -> None:
        if self._nvml.is_open:
            return
        if now_s < self._open_after_s and self._failure is not None:
            raise self._failure.with_traceback(None)
        self._open_after_s = now_s + LOOK_EVERY_S
        self._look_after_s = now_s + LOOK_EVERY_S
        self._reopen_after_s = now_s + self._reopen_pause_s
        try:
            self._nvml.open()
            self._enumerate()
        except NvmlFailure as failure:
            raise self._fail(failure.for_source()) from None
        if not self._gpus:
            why = next(iter(self._blind.values()), None)
            raise self._fail(Unavailable(f"{NO_GPU}{f': {why}' if why else ''}", NO_GPU_FIX))
        if self._failure is not None:
            log.info("the NVIDIA driver answers; GPUs: %d", len(self._gpus) - len(self._gone))
        self._failure = None

    def _fail(self, why: JoulecarError) -> JoulecarError:
        """Close NVML; the next try is LOOK_EVERY_S after the last one."""
        self._nvml.close()
        if str(self._failure) != str(why):
            log.warning("%s", why)
        self._failure = why
        return why

    def _reopen_if_lost(self, failure: NvmlFailure) -> None:
        """A failure that speaks of the whole driver: believed if the driver, asked about no GPU, says so too."""
        try:
            self._nvml.count()
        except NvmlFailure as again:
            if again.action is Action.REOPEN:
                for gpu in self._gpus.values():
                    gpu.probe_again()
                raise self._fail(failure.for_source()) from None

    def _look(self, now_s: float) -> None:
        """Now and then: are there other GPUs than before?"""
        if now_s < self._look_after_s:
            return
        self._look_after_s = now_s + LOOK_EVERY_S
        if not self._gone:
            self._reopen_pause_s = REOPEN_AFTER_S
            self._reopen_after_s = now_s + REOPEN_AFTER_S
        elif now_s >= self._reopen_after_s:
            self._reopen_pause_s = min(2 * self._reopen_pause_s, REOPEN_AT_LEAST_EVERY_S)
            self._nvml.close()
            self._open_after_s = float("-inf")
            self._ensure_open(now_s)
            return
        try:
            if self._gone or self._blind or self._nvml.count() != self._count:
                self._enumerate()
        except NvmlFailure as failure:
            if failure.action is Action.REOPEN:
                self._reopen_if_lost(failure)
            # Anything else is no reason to stop reading the GPUs that are there.

    def _enumerate(self) -> None:
        """Match what the driver lists now with what is known, by UUID. Raises NvmlFailure."""
        count = self._nvml.count()
        listed: set[str] = set()
        blind: dict[int, str] = {}
        for index in range(count):
            try:
                handle = self._nvml.handle(index)
                uuid = self._nvml.uuid(handle)
            except NvmlFailure as failure:
                if failure.action is Action.REOPEN:
                    raise
                blind[index] = failure.text
                continue
            listed.add(uuid)
            gpu = self._gpus.get(uuid)
            if gpu is None:
                gpu = Gpu(self._nvml, uuid, self._name(handle), index, handle)
                self._gpus[uuid] = gpu
                log.info("GPU %d (%s): %s", index, uuid, gpu.name)
            gpu.index, gpu.handle = index, handle
            if self._gone.pop(uuid, None) is not None:
                gpu.probe_again()
        for uuid, gpu in self._gpus.items():
            if uuid not in listed and uuid not in self._gone:
                self._lose(gpu, NOT_LISTED)
        if len(blind) <= len(self._gone):
            blind = {}  # those are the ones that are gone
        for index, why in blind.items():
            if self._blind.get(index) != why:
                log.warning("GPU %d: %s", index, why)
        self._blind, self._count = blind, count
        self.known = tuple(Known(gpu.device, gpu.name, gpu.index) for gpu in self._in_order())

    def _name(self, handle: object) -> str:
        try:
            return self._nvml.device_name(handle)
        except NvmlFailure:
            return "NVIDIA GPU"
