"""What NvmlSource does when a GPU fails: every class of NVML error, and a good GPU beside the bad one."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.sources.nvml_gpus import NOT_LISTED
from tests.agent.sources.nvml_machine import ENERGY, FIELDS, POWER, machine
from tests.fakes.nvml.driver import FakeGpu

INIT = "nvmlInitWithFlags"


@pytest.mark.parametrize("code", [3, 4, 13, 17, 25])
def test_a_code_that_means_never_turns_the_capability_off_for_that_gpu_alone(tmp_path: Path, code: int) -> None:
    with machine(tmp_path) as m:
        m.driver.fail(ENERGY, code, "GPU-a")
        for _ in range(5):
            readings = m.after(100.0)
            a, b = readings["GPU-a"], readings["GPU-b"]
            assert (a.energy_j, a.power_w, a.error) == (None, 0.0, None)
            assert (b.energy_j, b.error) == (2000.0, None)
        assert m.asked(ENERGY, "GPU-a") == 1


@pytest.mark.parametrize("code", [10, 20, 23, 27, 999, 77])
def test_a_code_that_means_not_now_fails_this_reading_and_the_next_one_tries_again(tmp_path: Path, code: int) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.fail(ENERGY, code, "GPU-a")
        readings = m.after(1.0)
        a, b = readings["GPU-a"], readings["GPU-b"]
        assert a.energy_j is None
        assert a.error is not None
        assert f"NVML {code}" in a.error
        assert a.power_w == 0.0  # still measured, beside the error
        assert (b.energy_j, b.error) == (2000.0, None)
        m.driver.fail(ENERGY, 0, "GPU-a")
        healed = m.after(1.0)["GPU-a"]
        assert (healed.energy_j, healed.error) == (1000.0, None)


def test_a_call_that_keeps_failing_is_asked_less_and_less_often_and_comes_back(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.fail(ENERGY, 999, "GPU-a")
        asked_at = []
        for second in range(120):
            before = m.asked(ENERGY, "GPU-a")
            assert m.after(1.0)["GPU-a"].error == "energy counter: unknown error (NVML 999)"
            if m.asked(ENERGY, "GPU-a") > before:
                asked_at.append(second)
        assert asked_at == [0, 1, 3, 7, 15, 31, 61, 91]
        m.driver.fail(ENERGY, 0, "GPU-a")
        m.after(30.0)
        assert m.after(1.0)["GPU-a"].energy_j == 1000.0


def test_failing_power_does_not_hide_a_counter_that_works(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        for call in (FIELDS, POWER):
            m.driver.fail(call, 999, "GPU-a")
        reading = m.after(1.0)["GPU-a"]
    assert (reading.energy_j, reading.power_w, reading.error) == (1000.0, None, None)


def test_without_a_counter_failing_power_is_an_error(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.no_energy_counter("GPU-a")
        for call in (FIELDS, POWER):
            m.driver.fail(call, 999, "GPU-a")
        reading = m.read()["GPU-a"]
    assert reading.error == "power: unknown error (NVML 999)"


@pytest.mark.parametrize("code", [2, 15, 16, 28, 29])
def test_a_gpu_that_is_gone_is_left_out_and_looked_for_every_half_minute(tmp_path: Path, code: int) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.fail("*", code, "GPU-a")
        first = m.after(1.0)["GPU-a"]
        assert first.error is not None
        assert f"NVML {code}" in first.error
        assert (first.energy_j, first.power_w, first.index, first.name) == (None, None, 0, "NVIDIA H100 80GB HBM3")
        m.driver.forget_calls()
        for _ in range(28):
            readings = m.after(1.0)
            assert readings["GPU-a"].error is not None
            assert readings["GPU-b"].energy_j == 2000.0
        assert [c for c, uuid, _ in m.driver.calls() if uuid == "GPU-a"] == []
        m.driver.return_("GPU-a", counter_j=7.0)
        back = m.after(1.0)["GPU-a"]
        assert (back.energy_j, back.error) == (7.0, None)


def test_a_gpu_that_comes_back_under_another_index_is_the_same_device(tmp_path: Path) -> None:
    gpus = [FakeGpu("GPU-a", counter_j=1.0), FakeGpu("GPU-b", counter_j=2.0), FakeGpu("GPU-c", counter_j=3.0)]
    with machine(tmp_path, gpus) as m:
        m.read()
        m.driver.remove("GPU-a")  # every other GPU moves down by an index
        readings = m.after(30.0)
        assert {u: r.energy_j for u, r in readings.items()} == {"GPU-a": None, "GPU-b": 2.0, "GPU-c": 3.0}
        assert readings["GPU-a"].error is not None
        m.driver.return_("GPU-a", index=2)
        readings = m.after(30.0)
    assert {u: (r.energy_j, r.index) for u, r in readings.items()} == {
        "GPU-a": (1.0, 2),
        "GPU-b": (2.0, 0),
        "GPU-c": (3.0, 1),
    }


def test_a_gpu_that_the_driver_no_longer_lists_is_reported_as_such(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.remove("GPU-a")
        readings = m.after(30.0)
        findings = {f.subject: f for f in m.source.probe()}
    assert readings["GPU-a"].error == NOT_LISTED
    assert readings["GPU-b"].error is None
    assert {subject: f.ok for subject, f in findings.items()} == {"GPU-a": False, "GPU-b": True}
    assert NOT_LISTED in findings["GPU-a"].detail


def test_a_gpu_that_is_lost_is_one_finding_and_not_two(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.lose("GPU-a")
        m.after(30.0)
        findings = m.source.probe()
    assert [(f.subject, f.ok) for f in findings] == [("GPU-a", False), ("GPU-b", True)]
    assert "GPU is lost (NVML 15)" in findings[0].detail


def test_what_a_gpu_can_tell_is_found_out_anew_when_it_returns(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.no_energy_counter("GPU-a")
        m.read()
        m.driver.lose("GPU-a")
        m.after(1.0)
        m.driver.heal()
        assert m.after(30.0)["GPU-a"].energy_j == 1000.0


def test_a_gpu_that_appears_is_read_within_half_a_minute(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.add(FakeGpu("GPU-new", counter_j=9.0), index=0)
        readings = m.after(30.0)
    assert {u: (r.energy_j, r.index) for u, r in readings.items()} == {
        "GPU-new": (9.0, 0),
        "GPU-a": (1000.0, 1),
        "GPU-b": (2000.0, 2),
    }


def test_while_a_gpu_stays_away_the_driver_is_opened_anew_after_5_10_20_minutes(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.read()
        m.driver.lose("GPU-a")
        m.driver.forget_calls()
        opened_at_s = []
        for second in range(0, 2400, 10):
            before = m.asked(INIT)
            assert m.after(10.0)["GPU-b"].energy_j == 2000.0
            if m.asked(INIT) > before:
                opened_at_s.append(second)
        assert len(opened_at_s) == 3
        assert opened_at_s == pytest.approx([300, 900, 2100], abs=60)


def test_with_every_gpu_well_the_driver_is_never_opened_anew(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        for _ in range(100):
            m.after(10.0)
        assert m.asked(INIT) == 1


def test_a_gpu_whose_uuid_cannot_be_read_is_a_finding_and_hides_no_other(tmp_path: Path) -> None:
    with machine(tmp_path) as m:
        m.driver.fail("*", 4, "GPU-a")
        assert set(m.read()) == {"GPU-b"}
        findings = {f.subject: f for f in m.source.probe()}
        assert findings["GPU-b"].ok
        assert not findings["GPU 0"].ok
        assert "no permission" in findings["GPU 0"].detail
        m.driver.heal()
        assert set(m.after(30.0)) == {"GPU-a", "GPU-b"}


@pytest.mark.parametrize("call", ["*", ENERGY])  # a lost GPU may still be listed as if it were well
def test_a_gpu_is_logged_when_it_goes_and_when_it_is_back_and_not_in_between(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    with machine(tmp_path) as m:
        m.read()
        caplog.clear()
        caplog.set_level("INFO", logger="agent.sources")
        m.driver.fail(call, 15, "GPU-a")
        for _ in range(200):
            m.after(1.0)
        m.driver.heal()
        m.after(30.0)
    assert len(caplog.messages) == 2
    assert "GPU is lost" in caplog.messages[0]
    assert "is back" in caplog.messages[1]


def test_a_capability_is_logged_when_it_changes_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with machine(tmp_path) as m:
        m.driver.no_energy_counter("GPU-a")
        m.driver.fail(ENERGY, 999, "GPU-b")
        caplog.set_level("INFO", logger="agent.sources.nvml_capability")
        for _ in range(100):
            m.after(1.0)
        m.driver.fail(ENERGY, 0, "GPU-b")
        m.after(30.0)
    assert [message.split(": ", 1)[1] for message in caplog.messages] == [
        "energy counter: not supported (NVML 3), not asked again",
        "energy counter: unknown error (NVML 999)",
        "energy counter: works again",
    ]
