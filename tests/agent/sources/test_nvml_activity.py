"""How busy each MIG instance was, asked through the real nvidia-ml-py of the stand-in driver."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from agent.model import Instance, Reading
from tests.agent.sources.nvml_machine import Machine, ManualClock, machine
from tests.fakes.nvml.driver import NOT_SUPPORTED, FakeGpu

BIG, SMALL = "MIG-big", "MIG-small"
SUPPORT, SAMPLE, METRICS = "nvmlGpmQueryDeviceSupport", "nvmlGpmMigSampleGet", "nvmlGpmMetricsGet"
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9


def hopper(**fields: object) -> FakeGpu:
    gpu = FakeGpu("GPU-a", power_w=300.0, mig=1, gpm=True, instances=((BIG, 40_960), (SMALL, 10_240)))
    gpu.sms = {BIG: 64, SMALL: 16}
    gpu.busy = {BIG: 0.75, SMALL: 0.25}
    for name, value in fields.items():
        setattr(gpu, name, value)
    return gpu


def active(reading: Reading) -> dict[str, float | None]:
    return {i.uuid: i.active for i in reading.instances}


def instances(m: Machine, seconds: float = 1.0) -> tuple[Instance, ...]:
    return m.after(seconds)["GPU-a"].instances


def test_an_instance_is_as_busy_as_its_sms_were_between_two_looks(tmp_path: Path) -> None:
    with machine(tmp_path, [hopper()], want_activity=lambda _: True) as m:
        assert active(m.read()["GPU-a"]) == {BIG: None, SMALL: None}, "one sample tells nothing"
        big, small = instances(m)
        assert [big.active, small.active] == pytest.approx([0.75, 0.25])
        assert (big.sms, small.sms) == (64, 16)
        m.driver.change("GPU-a", busy={BIG: 0.0, SMALL: 1.0})
        m.after(1.0)
        assert active(m.after(1.0)["GPU-a"]) == {BIG: pytest.approx(0.0), SMALL: pytest.approx(1.0)}
        (finding,) = m.source.probe()
        assert "how busy each instance is" in finding.detail


def test_what_was_taken_of_the_driver_is_given_back(tmp_path: Path) -> None:
    with machine(tmp_path, [hopper()], want_activity=lambda _: True) as m:
        for _ in range(20):
            m.after(1.0)
        taken, freed = m.asked("nvmlGpmSampleAlloc"), m.asked("nvmlGpmSampleFree")
        assert taken - freed == 2, "one sample of each instance is kept to compare the next one with"
        m.source.close()
        assert m.asked("nvmlGpmSampleFree") == taken


def test_nothing_is_asked_of_instances_that_nobody_shares_by(tmp_path: Path) -> None:
    asked: list[tuple[str, ...]] = []

    def want(uuids: Collection[str]) -> bool:
        asked.append(tuple(uuids))
        return False

    with machine(tmp_path, [hopper(), FakeGpu("GPU-b")], want_activity=want) as m:
        m.read()
        assert active(m.after(1.0)["GPU-a"]) == {BIG: None, SMALL: None}
        assert m.asked(SUPPORT) == m.asked(SAMPLE) == 0
    assert set(asked) == {("GPU-a", BIG, SMALL)}, "GPUs without instances have none to ask for"


@pytest.mark.parametrize("gpu", [hopper(gpm=False), hopper(errors={SAMPLE: NOT_SUPPORTED})])
def test_a_gpu_that_cannot_tell_is_not_asked_again_and_it_is_said(tmp_path: Path, gpu: FakeGpu) -> None:
    with machine(tmp_path, [gpu], want_activity=lambda _: True) as m:
        for _ in range(10):
            reading = m.after(1.0)["GPU-a"]
            assert (active(reading), reading.error) == ({BIG: None, SMALL: None}, None)
        assert m.asked(SUPPORT) == 1
        (finding,) = m.source.probe()
    assert "not supported (NVML 3); they share the GPU by tokens times memory" in finding.detail
    assert (finding.ok, finding.fix) == (True, "")


def test_without_the_right_to_profile_the_finding_says_what_to_do(tmp_path: Path) -> None:
    with machine(tmp_path, [hopper(errors={SAMPLE: NO_PERMISSION})], want_activity=lambda _: True) as m:
        readings = [m.after(1.0)["GPU-a"] for _ in range(5)]
        assert m.asked(SAMPLE) == 1
        (finding,) = m.source.probe()
        assert m.asked("nvmlGpmSampleAlloc") == m.asked("nvmlGpmSampleFree") == 1
    assert all(r.energy_j is not None and r.error is None for r in readings)
    assert "no permission (NVML 4)" in finding.detail
    assert finding.ok
    assert "NVreg_RestrictProfilingToAdminUsers=0" in finding.fix


def test_trouble_passes_and_the_next_two_samples_tell_again(tmp_path: Path) -> None:
    with machine(tmp_path, [hopper()], want_activity=lambda _: True) as m:
        m.read()
        m.after(1.0)
        m.driver.fail(METRICS, 999)
        assert active(m.after(1.0)["GPU-a"]) == {BIG: None, SMALL: None}
        m.driver.fail(METRICS, 0)
        m.after(60.0)
        assert active(m.after(1.0)["GPU-a"]) == {BIG: pytest.approx(0.75), SMALL: pytest.approx(0.25)}
        assert m.asked("nvmlGpmSampleAlloc") - m.asked("nvmlGpmSampleFree") == 2


@pytest.mark.parametrize("other", [0, NOT_SUPPORTED])
def test_a_driver_that_tells_no_number_is_asked_again(tmp_path: Path, other: int) -> None:
    with machine(tmp_path, [hopper(errors={"gpm_nan": 1, "gpm_metric_1": other})], want_activity=lambda _: True) as m:
        for _ in range(5):
            assert active(m.after(1.0)["GPU-a"]) == {BIG: None, SMALL: None}
        m.driver.heal()
        m.after(60.0)
        assert active(m.after(1.0)["GPU-a"]) == {BIG: pytest.approx(0.75), SMALL: pytest.approx(0.25)}


def test_a_gpu_that_comes_and_goes_keeps_no_samples(tmp_path: Path) -> None:
    with machine(tmp_path, [hopper(), FakeGpu("GPU-b")], want_activity=lambda _: True) as m:
        m.after(1.0)
        for _ in range(5):
            m.driver.lose("GPU-a")
            m.after(1.0)
            m.driver.return_("GPU-a")
            m.after(31.0)
            m.after(1.0)
        assert m.asked("nvmlGpmSampleAlloc") > 10
        assert m.asked("nvmlGpmSampleAlloc") - m.asked("nvmlGpmSampleFree") == 2


def test_where_busy_sms_are_not_told_the_time_in_which_anything_ran_is_taken(tmp_path: Path) -> None:
    gpu = hopper(errors={"gpm_metric_2": NOT_SUPPORTED}, busy={BIG: 0.3, SMALL: 0.1})
    with machine(tmp_path, [gpu], want_activity=lambda _: True) as m:
        m.read()
        assert active(m.after(1.0)["GPU-a"]) == {BIG: pytest.approx(0.6), SMALL: pytest.approx(0.2)}


def test_two_instances_that_are_counted_as_one_tell_nothing_of_either(tmp_path: Path) -> None:
    gpu = hopper(instances=((BIG, 40_960), ("MIG-c1", 10_240), ("MIG-c2", 10_240)))
    gpu.gpu_instance = {"MIG-c1": 5, "MIG-c2": 5}
    with machine(tmp_path, [gpu], want_activity=lambda _: True) as m:
        m.read()
        assert active(m.after(1.0)["GPU-a"]) == {BIG: pytest.approx(0.75), "MIG-c1": None, "MIG-c2": None}


ANEW = {
    "instances": (("MIG-new", 20_480), ("MIG-other", 20_480)),
    "sms": {"MIG-new": 32, "MIG-other": 32},
    "busy": {"MIG-new": 0.5},
    "residents": {"MIG-new": (5,)},
}


def test_instances_that_were_made_anew_are_seen_within_a_minute(tmp_path: Path) -> None:
    with machine(tmp_path, [hopper()], want_activity=lambda _: True) as m:
        m.after(1.0)
        m.after(1.0)
        m.driver.change("GPU-a", **ANEW)
        seen = [active(m.after(1.0)["GPU-a"]) for _ in range(63)]
    assert {"MIG-new": None, "MIG-other": None} in seen, "the first sample is of the instance that was there before"
    assert seen[-1] == {"MIG-new": pytest.approx(0.5), "MIG-other": pytest.approx(0.0)}


def test_instances_that_were_made_anew_are_seen_at_once_where_their_processes_are_asked_for(tmp_path: Path) -> None:
    with machine(tmp_path, [hopper()], want_residents=True) as m:
        for _ in range(10):
            m.after(1.0)
        m.driver.change("GPU-a", **ANEW)
        told = [{i.uuid: i.residents for i in instances(m)} for _ in range(8)]
    assert {"MIG-new": (5,), "MIG-other": ()} in told


def test_the_sms_are_those_that_the_activity_is_a_share_of(tmp_path: Path) -> None:
    """A compute instance may have a part of the GPU instance that activity is counted by."""
    with machine(tmp_path, [hopper(slices={BIG: (4, 1)})], want_activity=lambda _: True) as m:
        assert [i.sms for i in m.read()["GPU-a"].instances] == [4 * 64, 16]


def test_slow_answers_are_held(tmp_path: Path) -> None:
    with machine(tmp_path, [hopper()], clock=ManualClock(step_s=0.05), want_activity=lambda _: True) as m:
        m.read()
        for _ in range(100):
            m.after(1.0)
        assert m.asked(SAMPLE) <= 2 * 20
        assert active(m.after(1.0)["GPU-a"]) == {BIG: pytest.approx(0.75), SMALL: pytest.approx(0.25)}


def test_a_driver_that_goes_takes_its_samples_along(tmp_path: Path) -> None:
    with machine(tmp_path, [hopper()], want_activity=lambda _: True) as m:
        m.read()
        m.after(1.0)
        m.driver.fail("*", DRIVER_NOT_LOADED)
        with pytest.raises(Exception, match="not loaded"):
            m.after(1.0)
        m.driver.fail("*", 0)
        assert active(m.after(60.0)["GPU-a"]) == {BIG: None, SMALL: None}
        assert active(m.after(1.0)["GPU-a"]) == {BIG: pytest.approx(0.75), SMALL: pytest.approx(0.25)}
