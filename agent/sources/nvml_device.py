"""One GPU: what it can tell, found out by asking, and one reading of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from agent.model import Device, DeviceKind, Instance, Instant, Method, Reading
from agent.ports import Clock, Finding
from agent.sources.nvml_activity import PERMISSION_FIX, InstanceActivity
from agent.sources.nvml_binding import Handle, MigDevice, NvmlBinding
from agent.sources.nvml_capability import Capability, Pace
from agent.sources.nvml_processes import ProcessSamples
from agent.sources.nvml_residents import Held, Residents, held_now
from agent.units import MJ_PER_J, MW_PER_W

INSTANCES_EVERY_S = 60.0  # at most: some drivers take tens of ms a call
CHANGED_AFTER_S = 5.0  # but then at once, where what is asked of instances fails: they may be others by now
LIMIT_EVERY_S = 60.0  # how often the power limit is asked for, unless the power says that it has changed


@dataclass(frozen=True, slots=True)
class Wants:
    """What to ask of a GPU beyond its energy and power; each is dear. Called in the source's own thread."""

    processes: Callable[[str], bool] = lambda _uuid: False  # the SM utilisation of each process
    activity: Callable[[Collection[str]], bool] = lambda _uuids: False  # of MIG instances: the GPU's UUID and theirs
    residents: bool = False  # which processes hold its memory


class Gpu:
    """One GPU, by UUID. The handle and index are today's; capabilities stay with the GPU."""

    def __init__(self, binding: NvmlBinding, uuid: str, name: str, index: int, handle: Handle) -> None:
        self._nvml = binding
        self.device = Device(DeviceKind.GPU, uuid)
        self.name = name
        self.index = index
        self.handle = handle
        self.mig = False
        self._activity = InstanceActivity(binding, uuid)
        self.probe_again()

    def probe_again(self) -> None:
        """Forget what it could tell: the driver may be another one."""
        self._activity.forget()
        label = f"GPU {self.index} ({self.device.key})"
        self.energy = Capability(label, "energy counter", essential=True)
        self.power_instant = Capability(label, "instantaneous power")
        self.power_usage = Capability(label, "power usage", essential=True)
        self._enforced = Capability(label, "enforced power limit")
        self._highest = Capability(label, "highest power limit")
        self._mig_mode = Capability(label, "MIG mode")
        self._instance_list = Capability(label, "MIG instances")
        self._processes = ProcessSamples(self._nvml, label)
        self._activity = InstanceActivity(self._nvml, label)
        self._residents = Residents(self._nvml, label)
        self.instances: tuple[MigDevice, ...] = ()
        self._instances_pace = Pace(INSTANCES_EVERY_S)
        self._listed_s = float("-inf")
        self._limits_w: tuple[float, ...] = ()
        self._limits_due_s = float("-inf")

    def read(self, clock: Clock, wants: Wants) -> Reading:
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
        self._refresh_instances(clock)
        uuid = self.device.key
        # Energy comes first: nothing that is asked of instances and processes may date it.
        processes = self._processes.told(clock, handle) if not self.mig and wants.processes(uuid) else None
        return Reading(
            device=self.device,
            at=_middle(before, between) if energy_mj is not None else _middle(between, after),
            energy_j=None if energy_mj is None else energy_mj / MJ_PER_J,
            power_w=power_w,
            max_power_w=max(self._limits_w, default=None),
            name=self.name,
            index=self.index,
            processes=processes,
            error=self._error(energy_mj is not None, power_w is not None),
            instances=self._told_of_instances(clock, wants),
        )

    def with_residents(self, reading: Reading, now_s: float) -> Reading:
        """The reading with the processes that hold memory. Raises NvmlFailure if the driver is another one."""
        return self._residents.add(reading, self.handle, self.instances, now_s)

    def residents(self) -> Held:
        """The processes that hold memory of the GPU, or of each of its MIG instances. Raises NvmlFailure."""
        return held_now(self._nvml, self.device.key, self.handle, self.instances)

    def _told_of_instances(self, clock: Clock, wants: Wants) -> tuple[Instance, ...]:
        if not self.instances:
            return ()
        asked = wants.activity((self.device.key, *(i.uuid for i in self.instances)))
        busy = self._activity.told(clock, self.handle, self.instances) if asked else {}
        return tuple(Instance(i.uuid, float(i.memory_bytes), i.sms, busy.get(i.uuid)) for i in self.instances)

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

    def _refresh_instances(self, clock: Clock) -> None:
        """The MIG instances: they may be made anew while the agent runs."""
        nvml, handle, now_s = self._nvml, self.handle, clock.now().mono_s
        failing = self._residents.failing or self._activity.failing
        if not self.mig:
            self.instances, self._instances_pace = (), Pace(INSTANCES_EVERY_S)
            self._activity.forget()
        elif self._instances_pace.is_due(now_s) or (failing and now_s >= self._listed_s + CHANGED_AFTER_S):
            listed = self._instance_list.ask(lambda: nvml.instances(handle), now_s)
            self._listed_s = now_s
            self._instances_pace.took(now_s, clock.now().mono_s)
            if listed is not None:
                if [i.uuid for i in listed] != [i.uuid for i in self.instances]:
                    self._activity.forget()
                self.instances = tuple(listed)

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
            notes.extend(self._notes_of_activity())
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
        elif self._activity.forbidden:
            fix = PERMISSION_FIX
        return Finding(
            subject=self.device.key,
            ok=reading.error is None,
            kind=DeviceKind.GPU,
            method=method,
            detail="; ".join(notes),
            fix=fix,
        )

    def _notes_of_activity(self) -> list[str]:
        if self._activity.answered:
            return ["it tells how busy each instance is: they share the GPU by that"]
        if why := self._activity.why_not:
            return [f"activity of its instances: {why}; they share the GPU by tokens times memory"]
        return []


def _middle(before: Instant, after: Instant) -> Instant:
    """By the monotonic clock alone: the wall clock may be set in between."""
    return before.plus((after.mono_s - before.mono_s) / 2)
