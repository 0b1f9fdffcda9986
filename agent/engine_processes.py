"""The processes of the configured engines on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlsplit

from agent.accounts import Rules, group_of
from agent.instances import in_view
from agent.model import DeviceKind, Reading
from agent.ports import Clock
from agent.settings import EngineSettings
from agent.sources.gpu_files import opens_gpu
from agent.sources.processes import ListenerCpu, began_s

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
AGAIN_S = 60.0  # how often it is asked whether a process that was no engine's is one's now: it listens when it is ready
UNSEEN_AGAIN_S = 15.0  # likewise, while an engine has no process at all, and one of no engine is on a GPU
SAME_EVERY_S = 10.0  # how often it is asked whether numbers are still those of the same processes: a file of each
CLOCK_S = 2.0  # that a process seems to have begun later or earlier when the wall clock is set a little
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

    def __init__(
        self,
        engines: tuple[EngineSettings, ...],
        clock: Clock,
        listeners: ListenerCpu | None = None,
        opens: Callable[[Iterable[int]], bool] = opens_gpu,
        began: Callable[[int], float | None] = began_s,
    ) -> None:
        self._rules = Rules(engines={e.name: e.gpus for e in engines})
        local = {e.name: urlsplit(e.url).port for e in engines if is_local(e)}
        self._ports = {n: p for n, p in local.items() if p is not None}
        self._clock = clock
        self._listeners = listeners if listeners is not None else ListenerCpu(clock)
        self._pids: dict[str, frozenset[int]] = {}
        self._opens = opens
        self._began = began
        self._began_s: dict[int, float | None] = {}  # of the engines' processes
        self._compared_s = float("-inf")
        self._on_gpu: set[str] = set()  # engines of which a process was on a GPU
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
        """Process numbers, by engine; engines that cannot be seen are left out, and of one that never was on a GPU and
        has none open there are none. Nothing where no GPU told of its processes, of those that ran or of those that
        hold memory. Looked for anew when a process is on a GPU that was not known yet, and now and then while an engine
        has none: an engine that restarted has other ones."""
        there = on_gpus(readings)
        if there is None:
            return {}
        unknown = there.difference(*self._pids.values())
        unseen = any(not self._pids.get(name) for name in self._ports)
        after_s = AGAIN_S
        if unknown - self._strangers:
            after_s = AT_MOST_EVERY_S
        elif unknown and self._ports.keys() - self._pids.keys():
            after_s = UNSEEN_AGAIN_S
        now_s = self._clock.now().mono_s
        reused = self._reused(there, now_s)
        if reused or now_s - self._looked_s >= after_s:
            self._looked_s = now_s
            if unknown or unseen or reused:
                self._look(there, reused)
        return self._pids

    def _reused(self, there: frozenset[int], now_s: float) -> frozenset[int]:
        """Numbers that were an engine's processes', and are another's now."""
        if now_s - self._compared_s < SAME_EVERY_S:
            return frozenset()
        self._compared_s = now_s
        found = set()
        for pid, then_s in self._began_s.items():
            if pid in there and then_s is not None:
                began_s = self._began(pid)
                if began_s is not None and abs(began_s - then_s) > CLOCK_S:
                    found.add(pid)
        return frozenset(found)

    def _look(self, there: frozenset[int], reused: frozenset[int]) -> None:
        found: dict[str, frozenset[int]] = {}
        listeners = self._listeners.look(frozenset(self._ports.values()))
        for name, port in self._ports.items():
            if own := listeners[port]:
                # What is told of the GPUs may be older than that: a process of an engine did not become a stranger.
                own |= (self._pids.get(name, own) & there) - reused
                if own & there:
                    self._on_gpu.add(name)
                found[name] = own if name in self._on_gpu or self._opens(own) else frozenset()
        known = self._began_s
        self._began_s = {
            pid: known[pid] if pid in known and pid not in reused else self._began(pid)
            for pids in found.values()
            for pid in pids
        }
        self._pids = found
        self._strangers = there.difference(*found.values())
