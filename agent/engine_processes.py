"""The processes of the configured engines on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from agent.accounts import Rules, group_of
from agent.instances import in_view
from agent.model import DeviceKind, Reading
from agent.ports import Clock
from agent.settings import EngineSettings
from agent.sources.processes import ListenerCpu

LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Processes:
    """The processes of engines on this machine. Looked for only where several engines share hardware: walking
    /proc for them costs more than all the rest of a tick."""

    def __init__(self, engines: tuple[EngineSettings, ...], clock: Clock, listeners: ListenerCpu | None = None) -> None:
        self._rules = Rules(engines={e.name: e.gpus for e in engines})
        local = {e.name: urlsplit(e.url).port for e in engines if urlsplit(e.url).hostname in LOOPBACK}
        self._ports = {n: p for n, p in local.items() if p is not None} if len(engines) > 1 else {}
        self._listeners = listeners if listeners is not None else ListenerCpu(clock)

    def cpu_s(self, readings: Sequence[Reading]) -> dict[str, float]:
        """CPU seconds so far, by engine; engines that cannot be seen are left out. Nothing where an engine has a
        GPU: the node's energy then goes by the GPUs' work."""
        rules = in_view(self._rules, readings)
        if any(r.device.kind is DeviceKind.GPU and group_of(r.device, r.index, rules) for r in readings):
            return {}
        found = {name: self._listeners.cpu_s(port) for name, port in self._ports.items()}
        return {name: s for name, s in found.items() if s is not None}

    def pids(self, readings: Sequence[Reading]) -> dict[str, frozenset[int]]:
        """Process numbers, by engine; engines that cannot be seen are left out. Nothing where no GPU told of its
        processes."""
        if all(r.processes is None for r in readings):
            return {}
        found = {name: self._listeners.pids(port) for name, port in self._ports.items()}
        return {name: pids for name, pids in found.items() if pids}
