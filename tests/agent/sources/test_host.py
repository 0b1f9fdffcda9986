from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.clock import SystemClock
from agent.model import DeviceKind, Method, Reading
from agent.sources.host import CPU, DRAM, CpuInfo, CpuTimes, HostSource, cpu_power, parse_cpuinfo
from agent.sources.tdp import TdpTable, estimate_cpu_power_w
from tests.fakes.clock import FakeClock
from tests.fakes.host_stats import FakeStats

CPU_ONLY = frozenset({DeviceKind.CPU})
BOTH = frozenset({DeviceKind.CPU, DeviceKind.DRAM})
TABLE = TdpTable([("Acme Server 9000", 200.0), ("Acme Tiny 1000", 6.0)])


def cpuinfo(
    model: str = "Acme(R) Server 9000 CPU @ 2.00GHz", threads: int = 4, sockets: int = 1, flags: str = ""
) -> str:
    return "\n".join(
        f"processor\t: {i}\nmodel name\t: {model}\nphysical id\t: {i % sockets}\nflags\t\t: fpu {flags}\n"
        for i in range(threads)
    )


class Host:
    def __init__(self, tmp_path: Path, kinds: frozenset[DeviceKind] = CPU_ONLY, text: str | None = None) -> None:
        (tmp_path / "cpuinfo").write_text(cpuinfo() if text is None else text)
        self.clock = FakeClock()
        self.stats = FakeStats()
        self.source = HostSource(self.clock, kinds=kinds, stats=self.stats, proc=tmp_path, table=lambda: TABLE)

    def cpu(self) -> Reading:
        return next(r for r in self.source.read() if r.device == CPU)

    def dram(self) -> Reading:
        return next(r for r in self.source.read() if r.device == DRAM)


def test_the_first_read_sets_the_start_and_knows_no_power(tmp_path: Path) -> None:
    reading = Host(tmp_path).cpu()
    assert (reading.energy_j, reading.power_w, reading.estimated) == (0.0, None, True)


def test_energy_is_the_power_of_the_true_utilisation_times_the_time(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.cpu()
    host.clock.advance(10.0)
    host.stats.pass_time(busy=10.0, idle=30.0)
    reading = host.cpu()
    assert reading.power_w == pytest.approx(estimate_cpu_power_w(0.25, 200.0))
    assert reading.energy_j == pytest.approx(10 * estimate_cpu_power_w(0.25, 200.0))
    assert reading.max_power_w is not None
    assert reading.power_w is not None
    assert reading.max_power_w >= 200.0 * 1.5
    assert reading.name.startswith("Acme")


@pytest.mark.parametrize(
    ("passed", "utilisation"),
    [
        ({"idle": 40.0}, 0.0),
        ({"busy": 40.0}, 1.0),
        ({"iowait": 20.0, "busy": 20.0}, 0.5),  # waiting for a disk is idle
        ({"steal": 30.0, "busy": 10.0}, 0.25),  # another guest ran
        ({"irq": 10.0, "idle": 30.0}, 0.25),
    ],
)
def test_what_counts_as_busy(tmp_path: Path, passed: dict[str, float], utilisation: float) -> None:
    host = Host(tmp_path)
    host.cpu()
    host.clock.advance(10.0)
    host.stats.pass_time(**passed)
    assert host.cpu().power_w == pytest.approx(estimate_cpu_power_w(utilisation, 200.0))


def test_a_guests_time_that_is_inside_user_is_not_counted_twice() -> None:
    assert CpuTimes(user=7.0, nice=1.0, system=2.0, idle=10.0).total_s == 20.0


def test_a_read_within_one_clock_tick_loses_nothing(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.cpu()
    for _ in range(10):
        host.clock.advance(0.001)
        assert host.cpu().energy_j == 0.0
    host.clock.advance(0.99)
    host.stats.pass_time(busy=4.0)
    assert host.cpu().energy_j == pytest.approx(1.0 * estimate_cpu_power_w(1.0, 200.0))


def test_cpu_times_that_stand_still_for_long_are_an_error_and_not_idleness(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.cpu()
    host.clock.advance(11.0)
    reading = host.cpu()
    assert reading.energy_j is None
    assert "stand still" in (reading.error or "")


def test_times_that_go_back_are_taken_as_the_last_load(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.cpu()
    host.clock.advance(1.0)
    host.stats.pass_time(busy=2.0, idle=2.0)
    half_w = host.cpu().power_w
    host.clock.advance(1.0)
    host.stats.times = CpuTimes(user=1.0, nice=0.0, system=1.0, idle=1.0)  # a CPU went offline
    reading = host.cpu()
    assert half_w is not None
    assert reading.power_w == half_w
    assert reading.energy_j == pytest.approx(2 * half_w)


def test_a_failed_read_is_an_error_and_the_next_good_one_carries_the_time_between(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.cpu()
    host.stats.cpu_error = OSError("no /proc/stat")
    host.clock.advance(5.0)
    reading = host.cpu()
    assert reading.energy_j is None
    assert "no /proc/stat" in (reading.error or "")
    host.stats.cpu_error = None
    host.clock.advance(5.0)
    host.stats.pass_time(idle=40.0)
    assert host.cpu().energy_j == pytest.approx(10 * estimate_cpu_power_w(0.0, 200.0))


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-50, 400), st.floats(-50, 400)), max_size=20))
def test_the_estimates_counter_never_falls_whatever_the_machine_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, float, float]]
) -> None:
    host = Host(tmp_path_factory.mktemp("proc"))
    elapsed_s, last_j = 0.0, 0.0
    for seconds, busy, idle in steps:
        host.clock.advance(seconds)
        elapsed_s += seconds
        host.stats.pass_time(busy=busy, idle=idle)
        energy_j = host.cpu().energy_j
        if energy_j is not None:
            assert last_j <= energy_j <= 200.0 * elapsed_s
            last_j = energy_j


def test_memory_draws_a_constant_power_from_its_size(tmp_path: Path) -> None:
    host = Host(tmp_path, BOTH)
    assert host.dram().energy_j == 0.0
    host.clock.advance(10.0)
    reading = host.dram()
    assert reading.power_w == 20.0  # 64 GB: 4 modules of 5 W
    assert reading.energy_j == pytest.approx(200.0)
    assert reading.estimated


def test_memory_whose_size_is_not_told_is_an_error_and_the_cpu_is_read_all_the_same(tmp_path: Path) -> None:
    host = Host(tmp_path, BOTH)
    host.stats.memory_error = OSError("no meminfo")
    assert "no meminfo" in (host.dram().error or "")
    assert host.cpu().error is None
    assert [f.ok for f in host.source.probe()] == [True, False]


def test_only_the_kinds_that_are_asked_for_are_estimated(tmp_path: Path) -> None:
    host = Host(tmp_path, BOTH)
    assert {r.device for r in host.source.read()} == {CPU, DRAM}
    host.source.set_kinds(frozenset({DeviceKind.DRAM}))
    assert [r.device for r in host.source.read()] == [DRAM]
    assert [f.subject for f in host.source.probe()] == [DRAM.key]
    host.source.set_kinds(frozenset())
    assert host.source.read() == ()


def test_a_kind_that_comes_back_starts_anew_without_the_time_that_others_measured(tmp_path: Path) -> None:
    host = Host(tmp_path, BOTH)
    host.source.read()
    host.clock.advance(1.0)
    host.stats.pass_time(busy=4.0)
    before = {r.device: r.energy_j for r in host.source.read()}
    host.source.set_kinds(frozenset())
    host.clock.advance(1000.0)
    host.stats.pass_time(busy=4000.0)
    host.source.set_kinds(BOTH)
    assert {r.device: r.energy_j for r in host.source.read()} == before


def test_sockets_are_counted_on_bare_metal() -> None:
    power = cpu_power(parse_cpuinfo(cpuinfo(threads=8, sockets=2)), TABLE)
    assert (power.tdp_w, power.known) == (400.0, True)


def test_a_guest_has_only_its_own_threads_of_the_cpu() -> None:
    table = TdpTable([("AMD EPYC 9999", 320.0)])
    info = parse_cpuinfo(cpuinfo("AMD EPYC 9999 64-Core Processor", threads=8, sockets=8, flags="hypervisor"))
    power = cpu_power(info, table)
    assert power.tdp_w == pytest.approx(320.0 * 8 / 128)
    assert "8 of 128 threads" in power.how


def test_a_guest_of_a_cpu_of_unknown_size_gets_the_default_per_thread_and_says_so() -> None:
    power = cpu_power(parse_cpuinfo(cpuinfo(threads=4, flags="hypervisor")), TABLE)
    assert (power.tdp_w, power.known) == (16.0, False)
    assert "not known" in power.how


def test_a_guest_is_never_given_more_than_the_whole_cpu() -> None:
    text = cpuinfo("Acme Tiny 1000", threads=4, flags="hypervisor")
    assert cpu_power(parse_cpuinfo(text), TABLE).tdp_w == 6.0


def test_an_unknown_model_gets_the_default_per_thread_and_the_fix(tmp_path: Path) -> None:
    host = Host(tmp_path, text=cpuinfo("Mystery 1", threads=16))
    (finding,) = host.source.probe()
    assert (finding.ok, finding.method) == (True, Method.ESTIMATED)
    assert "no TDP known for Mystery 1" in finding.detail
    assert "64 W" in finding.detail
    assert "cpu_tdp_w" in finding.fix


def test_a_machine_without_the_table_says_so() -> None:
    power = cpu_power(CpuInfo("Acme Server 9000", threads=2), None)
    assert (power.tdp_w, power.known) == (8.0, False)
    assert "not installed" in power.how


def test_the_users_tdp_goes_before_the_table(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo())
    stats, clock = FakeStats(), FakeClock()
    source = HostSource(clock, kinds=CPU_ONLY, stats=stats, proc=tmp_path, cpu_tdp_w=50.0, table=lambda: TABLE)
    source.read()
    clock.advance(1.0)
    stats.pass_time(busy=4.0)
    assert source.read()[0].power_w == pytest.approx(estimate_cpu_power_w(1.0, 50.0))
    assert "cpu_tdp_w" in source.probe()[0].detail


def test_without_cpuinfo_the_threads_still_give_an_estimate(tmp_path: Path) -> None:
    stats = FakeStats(threads=32)
    source = HostSource(FakeClock(), kinds=CPU_ONLY, stats=stats, proc=tmp_path / "absent", table=lambda: TABLE)
    (finding,) = source.probe()
    assert finding.ok
    assert "128 W" in finding.detail


def test_without_cpu_times_the_probe_says_what_to_mount(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.stats.cpu_error = OSError("no /proc/stat")
    (finding,) = host.source.probe()
    assert not finding.ok
    assert "/proc" in finding.fix


def test_an_arm_cpuinfo_names_no_model() -> None:
    text = "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\n\nprocessor\t: 1\nCPU part\t: 0xd0c\n"
    assert parse_cpuinfo(text) == CpuInfo("", threads=2, sockets=1, virtual=False)


def test_this_very_machine_gives_numbers_that_make_sense() -> None:
    source = HostSource(SystemClock())
    source.read()
    sum(i * i for i in range(300_000))  # more than a clock tick of work
    readings = {r.device: r for r in source.read()}
    assert set(readings) == {CPU, DRAM}
    for reading in readings.values():
        assert reading.error is None
        assert reading.energy_j is not None
        assert reading.max_power_w is not None
        assert 0 <= reading.energy_j < reading.max_power_w * 60
        assert 0.05 < reading.max_power_w < 10_000
    assert all(finding.ok for finding in source.probe())
