from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.sources.rights import DAC_READ_SEARCH, SYS_PTRACE, Rights, findings, own, parse

STATUS = "Name:\tjoulecar\nUid:\t1000\t10001\t1000\t1000\nCapPrm:\t000001ffffffffff\nCapEff:\t{}\nCapBnd:\t00\n"
NOBODY = Rights(10001, frozenset())


def test_the_kernels_status_tells_the_effective_user_and_capabilities() -> None:
    assert parse(STATUS.format("0000000000080004")) == Rights(10001, frozenset({DAC_READ_SEARCH, SYS_PTRACE}))
    assert parse(STATUS.format("0000000000000000")) == NOBODY
    everything = parse(STATUS.format("000001ffffffffff"))
    assert everything is not None
    assert len(everything.capabilities) == 41


@pytest.mark.parametrize("status", ["", "Uid:\t0\t0\t0\t0\n", "CapEff:\t00\n", "Uid: x\nCapEff: y\n"])
def test_what_is_not_told_is_unknown_and_no_finding(status: str) -> None:
    assert parse(status) is None
    assert findings(parse(status), local_engines=2) == ()


def test_this_process_can_be_asked_and_another_system_gives_nothing(tmp_path: Path) -> None:
    rights = own()
    assert rights is not None
    assert rights.user == os.geteuid()
    assert own(tmp_path) is None


def test_a_process_without_capabilities_is_as_it_should_be() -> None:
    (found,) = findings(NOBODY, local_engines=1)
    assert (found.subject, found.ok, found.fix) == ("user 10001", True, "")
    assert "no capability" in found.detail


def test_each_capability_of_use_is_told_with_its_use() -> None:
    (found,) = findings(Rights(5, frozenset({DAC_READ_SEARCH, SYS_PTRACE})), local_engines=2)
    assert found.ok
    assert "CAP_DAC_READ_SEARCH reads energy_uj" in found.detail
    assert "CAP_SYS_PTRACE sees the processes" in found.detail


def test_capabilities_that_measuring_does_not_need_are_counted_and_the_fix_is_to_drop_them() -> None:
    (found,) = findings(Rights(0, frozenset(range(41))), local_engines=0)
    assert not found.ok
    assert "39 capabilities that measuring does not need" in found.detail
    assert "cap_drop ALL" in found.fix
    assert "user 0 needs none" in found.fix


def test_several_engines_here_without_a_look_at_their_processes_are_told_what_that_costs() -> None:
    assert len(findings(NOBODY, local_engines=1)) == 1
    _, found = findings(NOBODY, local_engines=2)
    assert (found.subject, found.ok) == ("CAP_SYS_PTRACE", False)
    assert "by tokens" in found.detail
    assert (Path(__file__).parents[3] / "deploy/systemd/joulecar.service.d/several-engines.conf").is_file()
    assert "deploy/systemd/joulecar.service.d/several-engines.conf" in found.fix
