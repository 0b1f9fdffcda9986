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
AGAIN_S = 60.0  # how often it is asked whether a process that was no engine's is one's now: it listens when it is ready
UNSEEN_AGAIN_S = 15.0  # likewise, while an engine has no process at all
AT_MOST_EVERY_S = 2.0  # however many new processes there are


def is_local(engine: EngineSettings) -> bool:
    """Can its processes be found by its port?"""
    return urlsplit(engine.url).hostname in LOOPBACK


def on_gpus(readings: Sequence[Reading]) -> frozenset[int] | None:
    """The processes that ran on a GPU, or hold memory of one; None: no GPU told of any."""
    told = [tuple(p.pid for p in r.processes) for r in readings if r.processes is not None]
    told += [r.residents for r in readings if r.residents is not None]
    told += [i.residents for r in readings for i in r.instances if i.residents is not None]
    return frozenset(pid for pids in told for pid in pids) if told else None


class Processes:
    """The processes of engines on this machine. Looked for only where there is something to share by them: walking
    /proc for them costs more than all the rest of a tick."""

    def __init__(self, engines: tuple[EngineSettings, ...], clock: Clock, listeners: ListenerCpu | None = None) -> None:
        self._rules = Rules(engines={e.name: e.gpus for e in engines})
        local = {e.name: urlsplit(e.url).port for e in engines if is_local(e)}
        self._ports = {n: p for n, p in local.items() if p is not None}
        self._clock = clock
        self._listeners = listeners if listeners is not None else ListenerCpu(clock)
        self._pids: dict[str, frozenset[int]] = {}
        self._strangers: frozenset[int] = frozenset()  # no engine's, when it was last looked
        self._looked_s = float("-inf")

    def cpu_s(self, readings: Sequence[Reading]) -> dict[str, float]:
        """CPU seconds so far, by engine; engines that cannot be seen are left out. Nothing for one engine alone, nor
        where an engine has a GPU: the node's energy then goes by the GPUs' work."""
        if len(self._rules.engines) < 2:
            return {}
        rules = in_view(self._rules, readings)
        if any(r.device.kind is DeviceKind.GPU and group_of(r.device, r.index, rules) for r in readings):
            return {}
        found = {name: self._listeners.cpu_s(port) for name, port in self._ports.items()}
        return {name: s for name, s in found.items() if s is not None}

    def pids(self, readings: Sequence[Reading]) -> dict[str, frozenset[int]]:
        """Process numbers, by engine; engines that cannot be seen are left out. Nothing where no GPU told of its
        processes, of those that ran or of those that hold memory. Looked for anew when a process is on a GPU that was
        not known yet: an engine that restarted has other ones."""
        there = on_gpus(readings)
        if there is None:
            return {}
        unknown = there.difference(*self._pids.values())
        now_s = self._clock.now().mono_s
        again_s = AGAIN_S if self._ports.keys() <= self._pids.keys() else UNSEEN_AGAIN_S
        after_s = AT_MOST_EVERY_S if unknown - self._strangers else again_s
        if unknown and now_s - self._looked_s >= after_s:
            self._looked_s = now_s
            found = {name: self._listeners.look(port) for name, port in self._ports.items()}
            # What is told of the GPUs may be older than that: a process that was an engine's did not become a stranger.
            self._pids = {name: pids | (self._pids.get(name, pids) & there) for name, pids in found.items() if pids}
            self._strangers = frozenset(unknown.difference(*self._pids.values()))
        return self._pids
