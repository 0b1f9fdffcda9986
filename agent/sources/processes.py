"""CPU seconds of the processes behind a local port: how engines on a machine without GPU share the CPU's energy."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import psutil

from agent.ports import Clock

LOOK_UP_S = 30.0  # listing sockets and process trees costs milliseconds: not at every tick

# Processes that start an engine's workers and do not listen themselves; the listener is one child of several.
LAUNCHERS = frozenset({"text-generation-launcher", "mpirun", "mpiexec", "orterun", "prterun"})
# Processes that open ports for services of every kind, and hand them on.
MANAGERS = frozenset({"systemd", "init", "inetd", "xinetd"})


class Process(Protocol):
    """A running process."""

    @property
    def pid(self) -> int: ...

    def cpu_s(self) -> float | None:
        """Seconds of its own and of its children that have ended, so that a worker's end loses none. None: gone."""
        ...


class ProcessTable(Protocol):
    """What is asked of the operating system. Never raises."""

    def listeners(self, ports: Collection[int]) -> Mapping[int, Sequence[int]]:
        """Processes that listen on each of these TCP ports; none where we may not see them."""
        ...

    def tree(self, pid: int) -> Sequence[Process]:
        """The process, or the launcher that started it, first; then everything below."""
        ...


@dataclass(frozen=True, slots=True)
class _Found:
    until_s: float
    processes: tuple[Process, ...]  # none: nobody visible listens


class ListenerCpu:
    """CPU seconds used so far by whatever listens on a port, its children included."""

    def __init__(self, clock: Clock, table: ProcessTable | None = None, *, look_up_s: float = LOOK_UP_S) -> None:
        self._clock = clock
        self._table = table if table is not None else PsutilTable()
        self._look_up_s = look_up_s
        self._found: dict[int, _Found] = {}

    def cpu_s(self, port: int) -> float | None:
        """A counter that falls only when the engine restarts. None: nobody listens there, or we may not see who."""
        now_s = self._clock.now().mono_s
        found = self._fresh(port, now_s)
        total_s = _sum_s(found.processes)
        if total_s is None and found.processes:  # it ended: who listens now?
            total_s = _sum_s(self._look_up((port,), now_s)[port].processes)
        return total_s

    def look(self, ports: Collection[int]) -> dict[int, frozenset[int]]:
        """The processes behind each port now; none if nobody listens there, or we may not see who."""
        found = self._look_up(ports, self._clock.now().mono_s)
        return {port: frozenset(process.pid for process in there.processes) for port, there in found.items()}

    def _fresh(self, port: int, now_s: float) -> _Found:
        found = self._found.get(port)
        return found if found is not None and now_s < found.until_s else self._look_up((port,), now_s)[port]

    def _look_up(self, ports: Collection[int], now_s: float) -> dict[int, _Found]:
        """All at once: the system lists the sockets of all processes, whichever ports are asked for."""
        listeners = self._table.listeners(ports)
        found = {port: _Found(now_s + self._look_up_s, self._behind(listeners.get(port, ()))) for port in ports}
        self._found.update(found)
        return found

    def _behind(self, listeners: Sequence[int]) -> tuple[Process, ...]:
        processes: dict[int, Process] = {}
        for pid in listeners:
            if pid not in processes:
                processes |= {process.pid: process for process in self._table.tree(pid)}
        return tuple(processes.values())


def _sum_s(processes: tuple[Process, ...]) -> float | None:
    """None if there are none, or the first, which the others hang on, is gone."""
    seconds = [process.cpu_s() for process in processes]
    if not seconds or seconds[0] is None:
        return None
    return sum(s for s in seconds if s is not None)


@dataclass(frozen=True, slots=True)
class _PsutilProcess:
    process: psutil.Process

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def cpu_s(self) -> float | None:
        try:
            if not self.process.is_running():  # another process may have the number by now
                return None
            times = self.process.cpu_times()
        except (psutil.Error, OSError):
            return None
        ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return float(times.user + times.system + ended)


class PsutilTable:
    """This machine."""

    def __init__(self, launchers: Collection[str] = LAUNCHERS, managers: Collection[str] = MANAGERS) -> None:
        self._launchers = launchers
        self._managers = managers

    def listeners(self, ports: Collection[int]) -> Mapping[int, Sequence[int]]:
        try:
            connections = psutil.net_connections(kind="tcp")
        except (psutil.Error, OSError, RuntimeError):
            return {}
        pids: dict[int, set[int]] = {}
        for c in connections:
            if c.status == psutil.CONN_LISTEN and c.pid is not None and c.laddr and c.laddr.port in ports:
                pids.setdefault(c.laddr.port, set()).add(int(c.pid))
        return {port: sorted({self._opener(pid, port) for pid in there}) for port, there in pids.items()}

    def _opener(self, pid: int, port: int) -> int:
        """Who opened the port. Those that answer there may be children with the same socket, as vLLM's API servers are
        beside its workers, and the system names any one of them all."""
        with contextlib.suppress(psutil.Error, OSError):  # as far up as we may see
            process = psutil.Process(pid)
            while (parent := process.parent()) is not None and _listens(parent, port):
                if parent.name() in self._managers:
                    break
                process, pid = parent, int(parent.pid)
        return pid

    def tree(self, pid: int) -> Sequence[Process]:
        try:
            root = psutil.Process(pid)
            parent = root.parent()
            if parent is not None and parent.name() in self._launchers:
                root = parent
            return [_PsutilProcess(p) for p in (root, *root.children(recursive=True))]
        except (psutil.Error, OSError):
            return ()


def began_s(pid: int) -> float | None:
    """When the process began (Unix seconds); two of one number began at different times. None: it is gone, or may not
    be seen."""
    try:
        return float(psutil.Process(pid).create_time())
    except (psutil.Error, OSError):
        return None


def _listens(process: psutil.Process, port: int) -> bool:
    connections = process.net_connections(kind="tcp")
    return any(c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port for c in connections)
