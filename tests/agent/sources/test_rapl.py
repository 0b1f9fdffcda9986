from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import pytest

from agent.errors import Unavailable
from agent.model import Device, DeviceKind, Method, Reading
from agent.sources.rapl import RaplSource, read_text
from tests.fakes.clock import FakeClock
from tests.fakes.powercap import PowercapTree, server

PACKAGE_0 = Device(DeviceKind.CPU, "package-0")
PACKAGE_1 = Device(DeviceKind.CPU, "package-1")
DRAM_0 = Device(DeviceKind.DRAM, "package-0-dram")
DRAM_1 = Device(DeviceKind.DRAM, "package-1-dram")


class Refusing:
    """Reads files, but for those whose name it refuses: root may read whatever its mode says."""

    def __init__(self, refused: str, error: int = errno.EACCES) -> None:
        self.refused = refused
        self.error = error

    def __call__(self, path: Path) -> str:
        if self.refused and self.refused in str(path):
            raise OSError(self.error, os.strerror(self.error), str(path))
        return read_text(path)


def by_device(source: RaplSource) -> dict[Device, Reading]:
    return {reading.device: reading for reading in source.read()}


def test_two_sockets_give_their_packages_and_memory_and_nothing_that_counts_a_joule_twice(tmp_path: Path) -> None:
    server(tmp_path)
    readings = by_device(RaplSource(tmp_path, FakeClock()))
    assert {device: reading.energy_j for device, reading in readings.items()} == {
        PACKAGE_0: 1.0,
        PACKAGE_1: 2.0,
        DRAM_0: 0.25,
        DRAM_1: 0.25,
    }


def test_a_reading_carries_the_counter_its_wrap_and_the_time(tmp_path: Path) -> None:
    server(tmp_path)
    clock = FakeClock()
    reading = by_device(RaplSource(tmp_path, clock))[PACKAGE_0]
    assert reading.at == clock.now()
    # One unit more than the range that the kernel tells; its unit is 2^-14 J cut to 61.035 uJ.
    assert reading.wraps_at_j == pytest.approx(2**32 * 61.035e-6, rel=1e-11)
    assert not reading.estimated
    assert reading.power_w is None
    assert reading.error is None


def test_each_read_gives_what_the_counter_says_now_wrapped_or_reset(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    folder = tree.zone("intel-rapl:0", "package-0", 262_143_000_000)
    source = RaplSource(tmp_path, FakeClock())
    seen = [by_device(source)[PACKAGE_0].energy_j]
    for energy_uj in (5_000_000, 0):
        (folder / "energy_uj").write_text(f"{energy_uj}\n")
        seen.append(by_device(source)[PACKAGE_0].energy_j)
    assert seen == [262_143.0, 5.0, 0.0]


def test_the_bound_is_the_largest_limit_of_a_package_and_memory_has_none(tmp_path: Path) -> None:
    tree = server(tmp_path)
    dram = tree.tree / "intel-rapl" / "intel-rapl:0" / "intel-rapl:0:1"
    tree.constraint(dram, 0, "long_term", limit_uw=0, max_uw=21_000_000)
    readings = by_device(RaplSource(tmp_path, FakeClock()))
    assert readings[PACKAGE_0].max_power_w == 376.0
    assert readings[DRAM_0].max_power_w is None


@pytest.mark.parametrize(
    ("constraints", "bound_w"),
    [
        ([], None),
        ([("long_term", 125_000_000, 125_000_000)], None),  # bursts go beyond it
        ([("long_term", 125_000_000, 0), ("short_term", 0, 0)], None),
        ([("long_term", 125_000_000, None), ("short_term", 150_000_000, None)], 150.0),
        ([("long_term", 300_000_000, None), ("short_term", 150_000_000, 0)], 300.0),
    ],
)
def test_a_bound_that_would_throw_real_joules_away_is_no_bound(
    tmp_path: Path, constraints: list[tuple[str, int, int | None]], bound_w: float | None
) -> None:
    tree = PowercapTree(tmp_path)
    folder = tree.zone("intel-rapl:0", "package-0", 1)
    for i, (name, limit_uw, max_uw) in enumerate(constraints):
        tree.constraint(folder, i, name, limit_uw=limit_uw, max_uw=max_uw)
    assert by_device(RaplSource(tmp_path, FakeClock()))[PACKAGE_0].max_power_w == bound_w


@pytest.mark.parametrize("range_text", [None, "0", "garbage"])
def test_a_counter_without_a_known_range_is_read_all_the_same(tmp_path: Path, range_text: str | None) -> None:
    folder = PowercapTree(tmp_path).zone("intel-rapl:0", "package-0", 7_000_000, range_uj=None)
    if range_text is not None:
        (folder / "max_energy_range_uj").write_text(range_text)
    reading = by_device(RaplSource(tmp_path, FakeClock()))[PACKAGE_0]
    assert (reading.energy_j, reading.wraps_at_j) == (7.0, None)


@pytest.mark.parametrize("text", ["", "\n", "garbage", "-5", "1.5", "1_000", "nan", "٣"])
def test_an_unreadable_number_is_an_error_and_never_zero(tmp_path: Path, text: str) -> None:
    tree = server(tmp_path)
    (tree.tree / "intel-rapl" / "intel-rapl:0" / "energy_uj").write_text(text, encoding="utf-8")
    readings = by_device(RaplSource(tmp_path, FakeClock()))
    assert readings[PACKAGE_0].energy_j is None
    assert "not a number" in (readings[PACKAGE_0].error or "")
    assert readings[PACKAGE_1].energy_j == 2.0


def test_a_refused_counter_is_that_devices_error_and_the_probe_tells_the_fix(tmp_path: Path) -> None:
    server(tmp_path)
    source = RaplSource(tmp_path, FakeClock(), read_text=Refusing("intel-rapl:1/energy_uj"))
    readings = by_device(source)
    assert readings[PACKAGE_1].energy_j is None
    assert (readings[PACKAGE_1].error or "").startswith("permission denied: ")
    assert readings[PACKAGE_0].energy_j == 1.0
    finding = next(f for f in source.probe() if f.subject == "package-1")
    assert not finding.ok
    assert "CAP_DAC_READ_SEARCH" in finding.fix
    rule = re.search(r"deploy/systemd/\S+\.rules", finding.fix)
    assert rule is not None
    assert (Path(__file__).parents[3] / rule[0]).is_file()


def test_another_error_of_a_file_is_told_in_the_systems_words(tmp_path: Path) -> None:
    server(tmp_path)
    source = RaplSource(tmp_path, FakeClock(), read_text=Refusing("intel-rapl:0/energy_uj", errno.EIO))
    assert os.strerror(errno.EIO) in (by_device(source)[PACKAGE_0].error or "")


def test_a_counter_that_may_be_read_again_heals(tmp_path: Path) -> None:
    server(tmp_path)
    opener = Refusing("intel-rapl:0/energy_uj")
    source = RaplSource(tmp_path, FakeClock(), read_text=opener)
    assert by_device(source)[PACKAGE_0].error
    opener.refused = ""
    assert by_device(source)[PACKAGE_0].energy_j == 1.0


def test_a_zone_that_vanishes_is_an_error_and_is_found_again_elsewhere(tmp_path: Path) -> None:
    tree = server(tmp_path)
    source = RaplSource(tmp_path, FakeClock())
    assert by_device(source)[PACKAGE_1].energy_j == 2.0
    tree.remove(tree.tree / "intel-rapl" / "intel-rapl:1")
    for _ in range(3):
        readings = by_device(source)
        assert readings[PACKAGE_1].energy_j is None
        assert "gone" in (readings[PACKAGE_1].error or "")
        assert readings[PACKAGE_0].energy_j == 1.0
    tree.zone("intel-rapl:3", "package-1", 3_000_000)
    assert by_device(source)[PACKAGE_1].energy_j == 3.0


def test_a_tree_that_vanishes_altogether_leaves_errors_not_silence(tmp_path: Path) -> None:
    tree = server(tmp_path)
    source = RaplSource(tmp_path, FakeClock())
    source.read()
    shutil.rmtree(tree.tree)
    assert [reading.error is not None for reading in source.read()] == [True] * 4
    assert [reading.error is not None for reading in source.read()] == [True] * 4


def test_a_new_zone_is_picked_up_within_the_rescan_time(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0", 1_000_000)
    clock = FakeClock()
    source = RaplSource(tmp_path, clock, rescan_s=30.0)
    assert set(by_device(source)) == {PACKAGE_0}
    tree.zone("intel-rapl:1", "package-1", 2_000_000)
    clock.advance(29.0)
    assert set(by_device(source)) == {PACKAGE_0}
    clock.advance(1.0)
    assert set(by_device(source)) == {PACKAGE_0, PACKAGE_1}


def test_amd_packages_come_without_memory(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0", 1_000_000, range_uj=65_532_610_987)
    tree.zone("intel-rapl:0:0", "core", 400_000, range_uj=65_532_610_987)
    readings = by_device(RaplSource(tmp_path, FakeClock()))
    assert set(readings) == {PACKAGE_0}
    assert readings[PACKAGE_0].wraps_at_j == pytest.approx(65_532.611, rel=1e-6)


def test_dies_are_packages_of_their_own(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    for die in (0, 1):
        tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}", 1_000_000)
        tree.zone(f"intel-rapl:{die}:0", "dram", 2_000_000)
    assert set(by_device(RaplSource(tmp_path, FakeClock()))) == {
        Device(DeviceKind.CPU, "package-0-die-0"),
        Device(DeviceKind.CPU, "package-0-die-1"),
        Device(DeviceKind.DRAM, "package-0-die-0-dram"),
        Device(DeviceKind.DRAM, "package-0-die-1-dram"),
    }


def test_more_than_ten_sockets_keep_their_order(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    for i in range(12):
        tree.zone(f"intel-rapl:{i}", f"package-{i}", i)
    keys = [reading.device.key for reading in RaplSource(tmp_path, FakeClock()).read()]
    assert keys == [f"package-{i}" for i in range(12)]


def test_a_second_zone_of_the_same_name_is_left_out_and_the_probe_says_so(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path)
    tree.zone("intel-rapl:0", "package-0", 1_000_000)
    tree.zone("intel-rapl:1", "package-0", 9_000_000)
    source = RaplSource(tmp_path, FakeClock())
    assert [reading.energy_j for reading in source.read()] == [1.0]
    assert any(f.subject == "intel-rapl:1" and "second zone named package-0" in f.detail for f in source.probe())


def test_the_probe_names_what_is_counted_and_what_is_left_out_and_why(tmp_path: Path) -> None:
    server(tmp_path)
    findings = {f.subject: f for f in RaplSource(tmp_path, FakeClock()).probe()}
    assert findings["package-0"].ok
    assert findings["package-0"].method is Method.COUNTER
    assert "262143 J" in findings["package-0"].detail
    assert "376 W" in findings["package-0"].detail
    assert findings["package-1-dram"].kind is DeviceKind.DRAM
    assert "psys" in findings["intel-rapl:2"].detail
    assert "a part of package-0" in findings["intel-rapl:0:0"].detail
    assert "a second time" in findings["intel-rapl-mmio:0"].detail
    assert all(f.ok for f in findings.values())


def test_the_tree_alone_will_do_where_a_container_mounts_no_class_links(tmp_path: Path) -> None:
    tree = server(tmp_path)
    shutil.rmtree(tree.links)
    assert set(by_device(RaplSource(tmp_path, FakeClock()))) == {PACKAGE_0, PACKAGE_1, DRAM_0, DRAM_1}


def test_links_that_lead_nowhere_are_a_containers_mask_and_the_fix_is_the_mount(tmp_path: Path) -> None:
    tree = server(tmp_path)
    shutil.rmtree(tree.tree)
    source = RaplSource(tmp_path, FakeClock())
    with pytest.raises(Unavailable, match="lead nowhere") as raised:
        source.read()
    assert "sources.sysfs" in raised.value.fix
    assert [(f.ok, "sources.sysfs" in f.fix) for f in source.probe()] == [(False, True)]


@pytest.mark.parametrize("zones", [[], [("intel-rapl:0", "psys")], [("intel-rapl-mmio:0", "package-0")]])
def test_no_package_at_all_is_unavailable_with_the_fix(tmp_path: Path, zones: list[tuple[str, str]]) -> None:
    tree = PowercapTree(tmp_path)
    for zone, name in zones:
        tree.zone(zone, name, 1)
    source = RaplSource(tmp_path, FakeClock())
    with pytest.raises(Unavailable, match="no package zone") as raised:
        source.read()
    assert "modprobe" in raised.value.fix
    assert not source.probe()[0].ok


def test_a_driver_that_is_loaded_later_is_picked_up(tmp_path: Path) -> None:
    clock = FakeClock()
    source = RaplSource(tmp_path, clock)
    with pytest.raises(Unavailable):
        source.read()
    PowercapTree(tmp_path).zone("intel-rapl:0", "package-0", 1_000_000)
    clock.advance(30.0)
    assert by_device(source)[PACKAGE_0].energy_j == 1.0


def test_a_zone_whose_name_is_refused_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    server(tmp_path)
    source = RaplSource(tmp_path, FakeClock(), read_text=Refusing("intel-rapl:1/name"))
    assert PACKAGE_0 in by_device(source)
    assert any(f.subject == "intel-rapl:1" and not f.ok for f in source.probe())


class Denied(type(Path())):  # type: ignore[misc]  # the concrete class of this system
    """A folder that may not be listed."""

    def iterdir(self) -> object:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))


def test_a_folder_that_may_not_be_listed_is_unavailable_and_not_a_crash(tmp_path: Path) -> None:
    server(tmp_path)
    source = RaplSource(Denied(tmp_path), FakeClock())
    with pytest.raises(Unavailable, match="permission denied"):
        source.read()
