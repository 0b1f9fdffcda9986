"""Reading all sources: one that fails never hides the others, and nothing is measured twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from agent.errors import ReadFailed, Unavailable
from agent.health import Health
from agent.model import Device, DeviceKind, Instant, Part, Reading
from agent.ports import Finding, Source
from agent.sensors import NODE_KINDS, Sensors
from agent.sources.host import HostSource
from tests.fakes.clock import FakeClock
from tests.fakes.host_stats import FakeStats

NOW = Instant(1.0, 2.0)
CPU = Device(DeviceKind.CPU, "package-0")


class Plays:
    """A source that answers each read with the next of its answers, the last one for ever."""

    def __init__(self, name: str, *answers: Sequence[Reading] | Exception) -> None:
        self.name = name
        self._answers = list(answers)
        self.closed = False

    def probe(self) -> Sequence[Finding]:
        return ()

    def read(self) -> Sequence[Reading]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed = True


GOOD_CPU = [Reading(CPU, NOW, energy_j=1.0)]
BAD_CPU = [Reading(CPU, NOW, error="permission denied")]
GPU = Device(DeviceKind.GPU, "GPU-a")
GOOD_GPU = [Reading(GPU, NOW, energy_j=1.0, name="NVIDIA H100")]


def estimate() -> HostSource:
    return HostSource(FakeClock(), kinds=NODE_KINDS, stats=FakeStats(), proc=Path("/nonexistent"), cpu_tdp_w=100)


def kinds(readings: Sequence[Reading]) -> set[tuple[DeviceKind, bool]]:
    return {(r.device.kind, r.estimated) for r in readings if r.error is None}


def sensors(*sources: Source, host: HostSource | None = None, health: Health | None = None) -> Sensors:
    return Sensors(sources, host, health or Health())


def test_what_is_measured_is_not_estimated() -> None:
    read = sensors(Plays("rapl", GOOD_CPU), host=estimate()).read
    read()
    assert kinds(read()) == {(DeviceKind.CPU, False), (DeviceKind.DRAM, True)}


def test_what_cannot_be_read_is_estimated_until_it_can() -> None:
    read = sensors(Plays("rapl", BAD_CPU, BAD_CPU, GOOD_CPU, BAD_CPU), host=estimate()).read
    read()
    assert (DeviceKind.CPU, True) in kinds(read())
    assert kinds(read()) == {(DeviceKind.CPU, False), (DeviceKind.DRAM, True)}
    # Once measured, the estimate never comes back: the counter carries the energy of the time between.
    assert kinds(read()) == {(DeviceKind.DRAM, True)}


def test_a_module_counter_that_may_hold_the_cpu_leaves_no_room_for_an_estimate() -> None:
    grace = [Reading(GPU, NOW, energy_j=1.0, name="NVIDIA GH200 480GB")]
    assert kinds(sensors(Plays("nvml", grace), host=estimate()).read()) == {(DeviceKind.GPU, False)}


def test_one_source_that_fails_never_hides_another() -> None:
    surprises: list[Callable[[], Exception]] = [
        lambda: Unavailable("no driver", "install it"),
        lambda: ReadFailed("timeout"),
        lambda: ZeroDivisionError("surprise"),
    ]
    for surprise in surprises:
        read = sensors(Plays("nvml", surprise()), Plays("rapl", GOOD_CPU)).read()
        assert kinds(read) == {(DeviceKind.CPU, False)}


def test_failures_are_told_as_what_they_are() -> None:
    health = Health()
    absent = Plays("nvml", Unavailable("no driver", "install it"))
    Sensors([absent], None, health).read()
    assert health.states() == ()
    Sensors([absent], None, health, required=frozenset({"nvml"})).read()
    (state,) = health.states()
    assert (state.part, state.up, state.fix) == (Part.SOURCE, False, "install it")


def test_one_bad_device_is_named_and_the_source_is_up() -> None:
    health = Health()
    other = Reading(Device(DeviceKind.GPU, "GPU-b"), NOW, error="gone")
    healed = Reading(Device(DeviceKind.GPU, "GPU-b"), NOW, energy_j=1.0)
    read = sensors(Plays("nvml", [*GOOD_GPU, other], [*GOOD_GPU, healed]), health=health).read
    read()
    assert {p.name: p.up for p in health.states()} == {"nvml": True, "nvml/GPU-b": False}
    read()
    assert {p.name: p.up for p in health.states()} == {"nvml": True, "nvml/GPU-b": True}


def test_a_source_all_of_whose_devices_fail_is_down() -> None:
    health = Health()
    sensors(Plays("rapl", BAD_CPU), health=health).read()
    assert {p.name: (p.up, p.message) for p in health.states()}["rapl"] == (False, "permission denied")


def test_closing_closes_every_source() -> None:
    one, two = Plays("nvml", GOOD_GPU), Plays("rapl", GOOD_CPU)
    sensors(one, two).close()
    assert one.closed
    assert two.closed
