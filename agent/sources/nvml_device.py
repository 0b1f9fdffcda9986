"""One GPU: what it can tell, found out by asking, and one reading of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from agent.model import Device, DeviceKind, Instance, Instant, Method, ProcessUse, Reading
from agent.ports import Clock, Finding
from agent.sources.nvml_binding import Handle, NvmlBinding
from agent.sources.nvml_errors import NOT_FOUND, SUCCESS, Action, NvmlFailure
from agent.units import MJ_PER_J, MW_PER_W

T = TypeVar("T")

log = logging.getLogger(__name__)

INSTANCES_EVERY_S = 300.0  # some drivers take tens of ms a call; they change only while nothing runs on them
LIMIT_EVERY_S = 60.0  # how often the power limit is asked for, unless the power says that it has changed
LONGEST_PAUSE_S = 30.0  # between two tries of a call that keeps failing
PROCESSES_SHARE = 0.0005  # of the time may go to asking one GPU for its processes: some drivers take 50 to 100 ms
LONGEST_HOLD_S = 120.0  # however slow one answer was
STALE_SAMPLE_S = 3.0  # without a new sample nobody uses the GPU: the driver goes on telling the last ones
PROCESS_OVERLAP_US = 1_000_000  # the driver samples about once a second: look back over one sample


class Capability:
    """One thing that a GPU may be able to tell. Off for good once the driver says that it cannot; asked less and
    less often while it fails. Says so in the log when that changes, not every time."""

    def __init__(self, owner: str, what: str, *, essential: bool = False) -> None:
        self._label = f"{owner}: {what}"
        self._essential = essential  # a GPU that is gone is believed when an essential call says so
        self._failures = 0
        self._retry_at_s = float("-inf")
        self.off = False
        self.answered = False
        self.error: str | None = None  # why the last try failed; None: it did not

    def ask(self, call: Callable[[], T], now_s: float) -> T | None:
        """What the call says; None if it cannot, does not, or is not asked at the moment.

        Raises NvmlFailure if the trouble is bigger than this one capability.
        """
        if self.off or now_s < self._retry_at_s:
            return None
        try:
            value = call()
        except NvmlFailure as failure:
            if failure.action is Action.REOPEN or (failure.action is Action.GONE and self._essential):
                raise
            self._failed(failure, now_s)
            return None
        if self.error is not None:
            log.info("%s: works again", self._label)
        self.error, self._failures, self.answered = None, 0, True
        return value

    def _failed(self, failure: NvmlFailure, now_s: float) -> None:
        if failure.action is Action.OFF:
            self.off = True
            log.info("%s: %s, not asked again", self._label, failure.text)
        elif self.error != failure.text:
            log.warning("%s: %s", self._label, failure.text)
        self._failures += 1
        # One failure may be chance: the next tick tries again. Then 2, 4, 8 ... seconds.
        pause_s = 0.0 if self._failures == 1 else 2.0 ** min(self._failures - 1, 10)
        self._retry_at_s = now_s + min(pause_s, LONGEST_PAUSE_S)
        self.error = failure.text


class Gpu:
    """One GPU, by UUID. The handle and index are today's; capabilities stay with the GPU."""

    def __init__(self, binding: NvmlBinding, uuid: str, name: str, index: int, handle: Handle) -> None:
        self._nvml = binding
        self.device = Device(DeviceKind.GPU, uuid)
        self.name = name
        self.index = index
        self.handle = handle
        self.mig = False
        self.probe_again()

    def probe_again(self) -> None:
        """Forget what it could tell: the driver may be another one."""
        label = f"GPU {self.index} ({self.device.key})"
        self.energy = Capability(label, "energy counter", essential=True)
        self.power_instant = Capability(label, "instantaneous power")
        self.power_usage = Capability(label, "power usage", essential=True)
        self._enforced = Capability(label, "enforced power limit")
        self._highest = Capability(label, "highest power limit")
        self._mig_mode = Capability(label, "MIG mode")
        self._instance_list = Capability(label, "MIG instances")
        self._processes = Capability(label, "SM utilisation per process")
        self.instances: tuple[Instance, ...] = ()
        self._instances_due_s = float("-inf")
        self._limits_w: tuple[float, ...] = ()
        self._limits_due_s = float("-inf")
        self._newest_sample_us = 0
        self._sampled_s = float("-inf")
        self._uses: tuple[ProcessUse, ...] | None = None
        self._uses_due_s = float("-inf")

    def read(self, clock: Clock, *, processes: bool) -> Reading:
        """One reading, dated by the middle of the call that gave its energy (or power, where there is no counter).

        Raises NvmlFailure if the GPU is gone or the driver is another one.
        """
        nvml, handle = self._nvml, self.handle
        before = clock.now()
        energy_mj = self.energy.ask(lambda: nvml.energy_mj(handle), before.mono_s)
        between = clock.now()
        power_mw = self.power_instant.ask(lambda: nvml.power_instant_mw(handle), between.mono_s)
        if power_mw is None:
            between = clock.now()
            power_mw = self.power_usage.ask(lambda: nvml.power_usage_mw(handle), between.mono_s)
        after = clock.now()
        power_w = None if power_mw is None else power_mw / MW_PER_W
        self._refresh_limits(after.mono_s, power_w)
        return Reading(
            device=self.device,
            at=_middle(before, between) if energy_mj is not None else _middle(between, after),
            energy_j=None if energy_mj is None else energy_mj / MJ_PER_J,
            power_w=power_w,
            max_power_w=max(self._limits_w, default=None),
            name=self.name,
            index=self.index,
            processes=self._held_use(clock, after.mono_s) if processes and not self.mig else None,
            error=self._error(energy_mj is not None, power_w is not None),
            instances=self.instances,
        )

    def _error(self, has_energy: bool, has_power: bool) -> str | None:
        """A counter that is there but did not answer is an error even when the power came: without it the meter
        would take this GPU for one that has no counter."""
        if has_energy:
            return None
        if not self.energy.off:
            return f"energy counter: {self.energy.error}"
        if has_power:
            return None
        if self.power_usage.off:
            return "the driver tells neither energy nor power"
        return f"power: {self.power_usage.error}"

    def _refresh_limits(self, now_s: float, power_w: float | None) -> None:
        """The most that the GPU can draw: the enforced limit or the highest that can be set, whichever is more.

        The enforced limit alone is too tight a gate: an administrator may raise it at any moment, and until it is
        read again real joules would be taken for a counter's jump. What the gate has to catch (resets, wraps,
        garbage) is larger by orders of magnitude than the difference. Power above the limit means that the limit
        has changed: it is read again at once.
        """
        if now_s < self._limits_due_s and not (
            power_w is not None and self._limits_w and power_w > max(self._limits_w)
        ):
            return
        self._limits_due_s = now_s + LIMIT_EVERY_S
        nvml, handle = self._nvml, self.handle
        limits_mw = (
            self._enforced.ask(lambda: nvml.enforced_limit_mw(handle), now_s),
            self._highest.ask(lambda: nvml.highest_limit_mw(handle), now_s),
        )
        limits_w = tuple(mw / MW_PER_W for mw in limits_mw if mw)
        self._limits_w = limits_w or self._limits_w
        self.mig = bool(self._mig_mode.ask(lambda: nvml.mig_enabled(handle), now_s))
        if not self.mig:
            self.instances, self._instances_due_s = (), float("-inf")
        elif now_s >= self._instances_due_s:
            self._instances_due_s = now_s + INSTANCES_EVERY_S
            listed = self._instance_list.ask(lambda: nvml.instances(handle), now_s)
            if listed is not None:
                self.instances = tuple(Instance(uuid, memory_bytes) for uuid, memory_bytes in listed)

    def _held_use(self, clock: Clock, now_s: float) -> tuple[ProcessUse, ...] | None:
        """As _process_use(), which is asked the less often the longer it takes; in between what it said last."""
        if self._uses is None or now_s >= self._uses_due_s:
            self._uses = self._process_use(now_s)
            took_s = clock.now().mono_s - now_s
            self._uses_due_s = now_s + min(took_s / PROCESSES_SHARE, LONGEST_HOLD_S)
        return self._uses

    def _process_use(self, now_s: float) -> tuple[ProcessUse, ...] | None:
        """SM utilisation of each process since the last look. (): nobody used the GPU; None: not known."""
        since_us = max(0, self._newest_sample_us - PROCESS_OVERLAP_US)

        def ask() -> list[tuple[int, int, int]]:
            try:
                return self._nvml.process_samples(self.handle, since_us)
            except NvmlFailure as failure:
                if failure.code in (SUCCESS, NOT_FOUND):
                    return []
                raise

        samples = self._processes.ask(ask, now_s)
        if samples is None:
            return None
        newest_us = max((at_us for _, _, at_us in samples), default=0)
        if newest_us > self._newest_sample_us:
            self._newest_sample_us, self._sampled_s = newest_us, now_s
        elif now_s - self._sampled_s > STALE_SAMPLE_S:
            return ()
        latest: dict[int, tuple[int, int]] = {}
        for pid, percent, at_us in samples:
            # The first look may bring samples that are minutes old.
            if at_us >= newest_us - PROCESS_OVERLAP_US and at_us >= latest.get(pid, (0, 0))[0]:
                latest[pid] = (at_us, percent)
        return tuple(ProcessUse(pid, min(max(percent / 100, 0.0), 1.0)) for pid, (_, percent) in sorted(latest.items()))

    def finding(self, reading: Reading) -> Finding:
        """What the reading showed about the GPU."""
        notes = [f"{self.name}, GPU {self.index}"]
        method: Method | None = None
        if self.energy.answered or not self.energy.off:
            method = Method.COUNTER
            notes.append("energy counter")
        elif not self.power_usage.off or not self.power_instant.off:
            method = Method.INTEGRATED
            notes.append("no energy counter: its power is integrated")
        if self.power_instant.answered:
            notes.append("instantaneous power")
        elif self.power_usage.answered:
            notes.append("power as nvidia-smi shows it, on some GPUs the mean of the last second")
        if reading.max_power_w is not None:
            notes.append(f"draws at most {reading.max_power_w:g} W")
        if self.mig:
            notes.append("MIG is on: the driver knows the energy of the whole GPU only, not of its instances")
            notes.extend(f"{i.uuid} has {i.memory_bytes / 2**30:.3g} GiB" for i in self.instances)
        if any(mark in self.name for mark in ("GH200", "GB200", "GB300", "Grace")):
            notes.append(
                "on Grace modules the counter may cover the CPU and its memory too: do not add them from elsewhere"
            )
        if reading.error is not None:
            notes.append(reading.error)
        fix = ""
        if method is None:
            fix = "virtual GPUs often hide both: run Joulecar on the host that owns the GPU"
        elif reading.error is not None:
            fix = "nvidia-smi should show what is wrong; Joulecar goes on asking"
        return Finding(
            subject=self.device.key,
            ok=reading.error is None,
            kind=DeviceKind.GPU,
            method=method,
            detail="; ".join(notes),
            fix=fix,
        )


def _middle(before: Instant, after: Instant) -> Instant:
    """By the monotonic clock alone: the wall clock may be set in between."""
    return before.plus((after.mono_s - before.mono_s) / 2)
