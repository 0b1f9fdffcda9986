"""Which processes hold memory of one GPU, or of each of its MIG instances, looked at now and then."""

from __future__ import annotations

from collections.abc import Sequence

from agent.ports import Clock
from agent.sources.nvml_binding import Handle, MigDevice, NvmlBinding
from agent.sources.nvml_capability import Capability, Pace

EVERY_S = 2.0  # some drivers take 5 ms a call and hold up the GPU meanwhile: these are asked less often

Held = dict[str, tuple[int, ...]]  # UUID of the GPU, or of each instance -> process numbers


class Residents:
    """The processes that compute on one GPU, busy or not."""

    def __init__(self, binding: NvmlBinding, label: str) -> None:
        self._nvml = binding
        self._asked = Capability(label, "processes that hold its memory")
        self._pace = Pace(EVERY_S)

    def told(self, clock: Clock, uuid: str, handle: Handle, devices: Sequence[MigDevice]) -> Held | None:
        """None: not asked at the moment, or not known. Raises NvmlFailure if the driver is another one."""
        now_s = clock.now().mono_s
        if not self._pace.is_due(now_s):
            return None
        held = self._asked.ask(lambda: held_now(self._nvml, uuid, handle, devices), now_s)
        self._pace.took(now_s, clock.now().mono_s)
        return held


def held_now(nvml: NvmlBinding, uuid: str, handle: Handle, devices: Sequence[MigDevice]) -> Held:
    """By instance where there are any: of the whole GPU the driver then tells the administrator alone."""
    if devices:
        return {d.uuid: tuple(sorted(nvml.resident_pids(d.handle))) for d in devices}
    return {uuid: tuple(sorted(nvml.resident_pids(handle)))}
