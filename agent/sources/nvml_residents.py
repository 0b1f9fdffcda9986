"""Which processes hold memory of one GPU, or of each of its MIG instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agent.model import Reading
from agent.sources.nvml_binding import Handle, MigDevice, NvmlBinding
from agent.sources.nvml_capability import Capability

EVERY_S = 2.0  # how often it is looked at most
SHARE = 0.002  # of the time may go to asking all GPUs: some drivers take 5 ms a call and hold up the GPU meanwhile

Held = dict[str, tuple[int, ...]]  # UUID of the GPU, or of each instance -> process numbers


class Residents:
    """The processes that compute on one GPU, busy or not."""

    def __init__(self, binding: NvmlBinding, label: str) -> None:
        self._nvml = binding
        self._asked = Capability(label, "processes that hold its memory")

    @property
    def failing(self) -> bool:
        """Did the last try fail, and will there be another one?"""
        return self._asked.error is not None and not self._asked.off

    def add(self, reading: Reading, handle: Handle, devices: Sequence[MigDevice], now_s: float) -> Reading:
        """The reading with who is there, where the driver tells. Raises NvmlFailure if the driver is another one."""
        uuid = reading.device.key
        held = self._asked.ask(lambda: held_now(self._nvml, uuid, handle, devices), now_s) or {}
        instances = tuple(replace(i, residents=held.get(i.uuid)) for i in reading.instances)
        return replace(reading, residents=held.get(uuid), instances=instances)


def held_now(nvml: NvmlBinding, uuid: str, handle: Handle, devices: Sequence[MigDevice]) -> Held:
    """By instance where there are any: of the whole GPU the driver then tells the administrator alone."""
    if devices:
        return {d.uuid: tuple(sorted(nvml.resident_pids(d.handle))) for d in devices}
    return {uuid: tuple(sorted(nvml.resident_pids(handle)))}
