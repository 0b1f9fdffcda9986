from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import psutil
import pytest

from agent.clock import SystemClock
from agent.sources.processes import ListenerCpu, Process, PsutilTable
from tests.fakes.clock import FakeClock


class FakeProcess:
    def __init__(self, pid: int, cpu_s: float | None) -> None:
        self._pid = pid
        self.seconds = cpu_s

    @property
    def pid(self) -> int:
        return self._pid

    def cpu_s(self) -> float | None:
        return self.seconds


class FakeTable:
    """port -> pids, pid -> its tree."""

    def __init__(self, ports: Mapping[int, Sequence[int]], trees: Mapping[int, Sequence[FakeProcess]]) -> None:
        self.ports = dict(ports)
        self.trees = dict(trees)
        self.look_ups = 0

    def listeners(self, ports: Collection[int]) -> Mapping[int, Sequence[int]]:
        self.look_ups += 1
        return {port: self.ports[port] for port in ports if port in self.ports}

    def tree(self, pid: int) -> Sequence[Process]:
        return self.trees.get(pid, ())


def test_the_listener_and_its_children_are_summed() -> None:
    table = FakeTable({8000: [10]}, {10: [FakeProcess(10, 5.0), FakeProcess(11, 2.5)]})
    assert ListenerCpu(FakeClock(), table).cpu_s(8000) == 7.5


def test_the_processes_behind_a_port_are_named() -> None:
    trees = {1: [FakeProcess(1, 5.0), FakeProcess(2, 2.5)], 3: [FakeProcess(3, 1.0)]}
    table = FakeTable({8000: [1], 8001: [3], 8002: [1]}, trees)
    assert ListenerCpu(FakeClock(), table).look((8000, 8001, 9000)) == {8000: {1, 2}, 8001: {3}, 9000: frozenset()}
    assert table.look_ups == 1, "the sockets of all processes are listed once for all ports"


def test_several_processes_that_share_the_port_are_counted_once_each() -> None:
    parent, worker = FakeProcess(10, 5.0), FakeProcess(11, 2.5)
    table = FakeTable({8000: [10, 11]}, {10: [parent, worker], 11: [worker]})
    assert ListenerCpu(FakeClock(), table).cpu_s(8000) == 7.5


def test_nobody_visible_is_not_zero() -> None:
    table = FakeTable({9000: [10]}, {10: []})
    listener = ListenerCpu(FakeClock(), table)
    assert listener.cpu_s(8000) is None
    assert listener.cpu_s(9000) is None


def test_processes_are_looked_up_again_only_after_the_time() -> None:
    process = FakeProcess(10, 1.0)
    table = FakeTable({8000: [10]}, {10: [process]})
    clock = FakeClock()
    listener = ListenerCpu(clock, table, look_up_s=30.0)
    for _ in range(29):
        process.seconds = (process.seconds or 0.0) + 1.0
        assert listener.cpu_s(8000) == process.seconds
        clock.advance(1.0)
    assert table.look_ups == 1
    clock.advance(1.0)
    listener.cpu_s(8000)
    assert table.look_ups == 2


def test_a_listener_that_is_not_there_is_not_looked_for_at_every_tick() -> None:
    table = FakeTable({}, {})
    listener = ListenerCpu(FakeClock(), table)
    assert [listener.cpu_s(8000) for _ in range(5)] == [None] * 5
    assert table.look_ups == 1


def test_a_worker_that_ended_takes_nothing_else_away() -> None:
    worker = FakeProcess(11, 2.5)
    table = FakeTable({8000: [10]}, {10: [FakeProcess(10, 5.0), worker]})
    listener = ListenerCpu(FakeClock(), table)
    listener.cpu_s(8000)
    worker.seconds = None
    assert listener.cpu_s(8000) == 5.0


def test_an_engine_that_was_restarted_is_found_at_once() -> None:
    old = FakeProcess(10, 5.0)
    table = FakeTable({8000: [10]}, {10: [old]})
    listener = ListenerCpu(FakeClock(), table)
    listener.cpu_s(8000)
    old.seconds = None
    table.ports[8000], table.trees[20] = [20], [FakeProcess(20, 0.25)]
    assert listener.cpu_s(8000) == 0.25


def test_an_engine_that_ended_is_none() -> None:
    old = FakeProcess(10, 5.0)
    table = FakeTable({8000: [10]}, {10: [old]})
    listener = ListenerCpu(FakeClock(), table)
    listener.cpu_s(8000)
    old.seconds, table.ports[8000] = None, []
    assert listener.cpu_s(8000) is None


def test_this_process_is_found_by_the_port_it_listens_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        seconds = ListenerCpu(SystemClock()).cpu_s(port)
        assert os.getpid() in PsutilTable().listeners((port,))[port]
    assert seconds is not None
    assert seconds >= sum(os.times()[:2]) - 0.5


CHILD = """
import socket, subprocess, sys
server = socket.create_server(("127.0.0.1", 0))
work = "sum(i * i for i in range(3_000_000)); print('done', flush=True); input()"
worker = subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
worker.stdout.readline()
print(server.getsockname()[1], worker.pid, flush=True)
input()
worker.communicate("\\n")
print("ended", flush=True)
input()
"""


def test_a_real_workers_seconds_are_counted_while_it_runs_and_after_it_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        port, worker_pid = map(int, child.stdout.readline().split())
        tree = PsutilTable().tree(child.pid)
        assert [process.pid for process in tree] == [child.pid, worker_pid]
        worker_s = tree[1].cpu_s()
        listener = ListenerCpu(SystemClock())
        running_s = listener.cpu_s(port)
        assert worker_s is not None
        assert worker_s > 0.05
        assert running_s is not None
        assert running_s >= worker_s
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "ended\n"
        after_s = listener.cpu_s(port)
        assert after_s is not None
        assert after_s >= running_s
        child.stdin.write("\n")
        child.stdin.flush()
    assert listener.cpu_s(port) is None


SERVERS = """
import os, socket, subprocess, sys
server = socket.create_server(("127.0.0.1", 0))
waits = [sys.executable, "-c", "input()"]
fds = ([server.fileno()], [server.fileno()], [])
children = [subprocess.Popen(waits, stdin=subprocess.PIPE, pass_fds=f) for f in fds]
print(server.getsockname()[1], os.getpid(), *(c.pid for c in children), flush=True)
input()
for c in children:
    c.communicate(b"\\n")
"""


def behind_the_port(managers: Collection[str]) -> tuple[list[int], frozenset[int]]:
    """The process that opened it, two that serve it too and one that does not; and those that were found."""
    with subprocess.Popen([sys.executable, "-c", SERVERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as opener:
        assert opener.stdout is not None and opener.stdin is not None
        port, *pids = map(int, opener.stdout.readline().split())
        found = ListenerCpu(FakeClock(), PsutilTable(managers=managers)).look((port,))[port]
        opener.stdin.write(b"\n")
        opener.stdin.flush()
    return pids, found


def test_servers_of_one_port_stand_for_all_that_its_opener_started() -> None:
    """As vLLM does with several API servers: these answer, and what works is started beside them."""
    pids, found = behind_the_port(managers=())
    assert found == set(pids)


def test_a_manager_that_hands_on_a_port_is_not_the_engine() -> None:
    pids, found = behind_the_port(managers={Path(sys.executable).name})
    assert found and found < set(pids[1:])


def test_a_launcher_that_does_not_listen_itself_stands_for_its_worker() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        below_it = PsutilTable(launchers=()).tree(child.pid)
        from_it = PsutilTable(launchers={psutil.Process().name()}).tree(child.pid)
    assert [process.pid for process in below_it] == [child.pid]
    assert from_it[0].pid == os.getpid()
    assert child.pid in [process.pid for process in from_it]


def test_a_process_that_is_gone_has_no_tree() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert PsutilTable().tree(child.pid) == ()


@pytest.mark.parametrize("port", [0, 1, 70_000])
def test_a_port_that_nobody_listens_on_is_none(port: int) -> None:
    assert ListenerCpu(SystemClock()).cpu_s(port) is None
