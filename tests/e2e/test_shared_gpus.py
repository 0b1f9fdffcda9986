"""Several engines on one GPU, one engine on several, and strangers: the daemon beside the compiled stand-in driver and
engines in processes of their own, so that who ran where is found as on a real machine."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.e2e.worlds import BRISK, GPUS_ALONE, engine, up
from tests.fakes.daemon import Daemon, Scrape
from tests.fakes.engine_process import EngineProcess
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = pytest.mark.e2e

A, B, C = (f"GPU-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c000{n}" for n in (1, 2, 3))
ENERGY = "joulecar_energy_joules_total"
# Two groups of GPUs may close their windows a second apart: of a stretch this long that is little.
SEVERAL_S = 5.0

World = tuple[Daemon, dict[str, EngineProcess]]


def serve(driver: FakeDriver, uuid: str, sm: dict[int, int]) -> None:
    """These processes use the GPU, from now on and all the time."""
    driver.change(uuid, processes=tuple((pid, percent, 0) for pid, percent in sm.items()))


def by_owner(before: Scrape, after: Scrape) -> dict[tuple[str, str], float]:
    """GPU joules between two scrapes by engine and use."""
    out: dict[tuple[str, str], float] = {}
    for (name, pairs), joules in after.values.items():
        labels = dict(pairs)
        if name == ENERGY and labels["kind"] == "gpu":
            key = (labels["engine"], labels["use"])
            out[key] = out.get(key, 0.0) + joules - before.values.get((name, pairs), 0.0)
    return {key: joules for key, joules in out.items() if joules > 1e-6}


def share(owners: dict[tuple[str, str], float], *engines: str) -> list[float]:
    """Each engine's part of all joules, idle included; "" is nobody's. Nothing booked: nan."""
    total_j = sum(owners.values()) or math.nan
    return [sum(j for (who, _), j in owners.items() if who == name) / total_j for name in engines]


def shares(*engines: str) -> Callable[[Scrape, Scrape], list[float]]:
    """share() of what is booked between two scrapes."""
    return lambda before, after: share(by_owner(before, after), *engines)


def parts_by_use(before: Scrape, after: Scrape) -> dict[tuple[str, str], float]:
    """The part of each engine and use in what is booked between two scrapes."""
    owners = by_owner(before, after)
    return {key: joules / sum(owners.values()) for key, joules in owners.items()}


def known_by(scrape: Scrape, name: str) -> set[str]:
    """How the shares of an engine are known."""
    return {dict(pairs)["by"] for (_, pairs) in scrape.all("joulecar_engine_sharing_info", engine=name)}


def gpus_of(scrape: Scrape, name: str, found: str = "processes") -> set[str]:
    """Where an engine is taken to be."""
    series = scrape.all("joulecar_engine_gpu_info", engine=name, found=found)
    return {labels["mig"] or labels["device"] for labels in (dict(pairs) for (_, pairs) in series)}


@contextmanager
def engines_on(folder: Path, driver: FakeDriver, **gpus: list[str] | None) -> Iterator[World]:
    """The daemon with an engine of each name on those GPUs, all of them known to the agent. None: it is to find out."""
    with ExitStack() as stack:
        engines = {name: stack.enter_context(EngineProcess()) for name in gpus}
        more = {name: 'gpus = "auto"' if uuids is None else f"gpus = {uuids}" for name, uuids in gpus.items()}
        tables = [engine(name, engines[name].url, more[name]) for name in gpus]
        config = "\n".join([BRISK, GPUS_ALONE, *tables])
        daemon = stack.enter_context(Daemon(folder / "agent", config, env=driver.env()))
        daemon.wait_for(lambda s: all(up(s, "engine", name) == 1 for name in gpus), what="every engine is read")
        yield daemon, engines


@dataclass(frozen=True)
class Beside:
    """`cpu` computes on the processor beside `chat`; the other GPU is nobody's at first."""

    driver: FakeDriver
    daemon: Daemon


@pytest.fixture(scope="module", autouse=True)
def beside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    """Started before the other tests and looked at after them: that an engine has no GPU is believed after a minute."""
    folder = tmp_path_factory.mktemp("beside")
    driver = FakeDriver(folder, [FakeGpu(A, power_w=300.0), FakeGpu(B, power_w=100.0)], log_calls=False)
    with engines_on(folder, driver, chat=None, cpu=None) as (daemon, engines):
        for e in engines.values():
            e.change(generated_per_s=50.0, prompt_per_s=20.0)
        serve(driver, A, {engines["chat"].pid: 60})
        yield Beside(driver, daemon)


def test_two_engines_on_one_gpu_share_it_by_sm_time_and_a_stranger_takes_its_part_while_it_is_there(
    tmp_path: Path, figure: Figure
) -> None:
    driver = FakeDriver(tmp_path, [FakeGpu(A, power_w=400.0)], log_calls=False)
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with engines_on(tmp_path, driver, chat=[A], code=[A]) as (daemon, engines):
            ours = {engines["chat"].pid: 60, engines["code"].pid: 20}
            for e in engines.values():
                e.change(generated_per_s=50.0, prompt_per_s=20.0)  # as many tokens each: only SM time tells them apart
            serve(driver, A, ours)
            both = shares("chat", "code", "")
            parts, until = daemon.settle(both, pytest.approx([0.75, 0.25, 0.0], abs=0.01))
            figure(f"60% and 20% of the SMs: shares {parts[0]:.3f}, {parts[1]:.3f}, foreign {parts[2]:.3f}")
            assert known_by(until, "chat") == known_by(until, "code") == {"sm"}

            serve(driver, A, {**ours, stranger.pid: 20})
            parts, _ = daemon.settle(both, pytest.approx([0.6, 0.2, 0.2], abs=0.01))
            figure(f"with a stranger at 20%: shares {parts[0]:.3f}, {parts[1]:.3f}, foreign {parts[2]:.3f}")

            serve(driver, A, ours)
            daemon.settle(both, pytest.approx([0.75, 0.25, 0.0], abs=0.01))
            figure(f"worst imbalance of any scrape with strangers: {daemon.worst_imbalance:.1e}")
    finally:
        stranger.kill()
        stranger.communicate()


def test_a_stranger_on_the_gpu_of_one_engine_pays_for_itself_while_the_engine_works_and_while_it_rests(
    tmp_path: Path, figure: Figure
) -> None:
    driver = FakeDriver(tmp_path, [FakeGpu(A, power_w=100.0)], log_calls=False)
    stranger = os.getpid()  # any process that is not the engine's
    with engines_on(tmp_path, driver, chat=[A]) as (daemon, engines):
        daemon.settle(lambda a, b: by_owner(a, b).keys(), {("chat", "idle")}, 1.0)  # at rest: the floor
        engines["chat"].change(generated_per_s=50.0)
        driver.set_power(A, 400.0)
        serve(driver, A, {engines["chat"].pid: 60, stranger: 20})
        parts, working = daemon.settle(shares("chat", ""), pytest.approx([0.75, 0.25], abs=0.01))
        figure(f"60% of the SMs beside a stranger's 20%: shares {parts[0]:.3f}, foreign {parts[1]:.3f}")
        assert known_by(working, "chat") == {"sm"}

        engines["chat"].change()
        serve(driver, A, {stranger: 60})
        rests = {("chat", "idle"): 0.25, ("", "foreign"): 0.75}
        owners, _ = daemon.settle(parts_by_use, pytest.approx(rests, abs=0.02))
        figure(f"a stranger's 400 W over a floor of 100 W: {owners}")


def test_an_engine_on_two_gpus_gets_both_and_a_third_one_is_nobodys(tmp_path: Path, figure: Figure) -> None:
    gpus = [FakeGpu(A, power_w=300.0), FakeGpu(B, power_w=200.0), FakeGpu(C, power_w=80.0)]
    driver = FakeDriver(tmp_path, gpus, log_calls=False)
    with engines_on(tmp_path, driver, wide=[A, B]) as (daemon, engines):
        engines["wide"].change(generated_per_s=50.0, prompt_per_s=20.0)

        def of_each_use(before: Scrape, after: Scrape) -> list[float]:
            owners = by_owner(before, after)
            known = owners.keys() <= {("wide", "prefill"), ("wide", "decode"), ("", "unassigned")}
            return share(owners, "wide", "") if known else []

        parts, _ = daemon.settle(of_each_use, pytest.approx([500 / 580, 80 / 580], abs=0.05), SEVERAL_S)
        figure(f"300 W and 200 W of one engine beside 80 W: shares {parts[0]:.3f}, unassigned {parts[1]:.3f}")


def test_engines_whose_processes_cannot_be_seen_share_by_tokens_and_it_is_said(tmp_path: Path) -> None:
    """As behind a port that another process forwards, or in another pod: what listens is seen, what computes is not."""
    driver = FakeDriver(tmp_path, [FakeGpu(A, power_w=400.0)], log_calls=False)
    with engines_on(tmp_path, driver, chat=[A], code=[A]) as (daemon, engines):
        engines["chat"].change(generated_per_s=90.0)
        engines["code"].change(generated_per_s=30.0)
        serve(driver, A, {engines["chat"].pid: 20, os.getpid(): 70})  # the second one computes for `code`
        _, after = daemon.settle(shares("chat", "code", ""), pytest.approx([0.75, 0.25, 0.0], abs=0.02))
        assert known_by(after, "chat") == known_by(after, "code") == {"tokens"}


def test_engines_on_mig_instances_share_their_gpu_by_tokens_and_memory(tmp_path: Path, figure: Figure) -> None:
    big, small = "MIG-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0011", "MIG-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0012"
    gpus = [FakeGpu(A, power_w=400.0, mig=1, instances=((big, 40_960), (small, 10_240)))]
    driver = FakeDriver(tmp_path, gpus, log_calls=False)
    with engines_on(tmp_path, driver, chat=[big], code=[small]) as (daemon, engines):
        for e in engines.values():
            e.change(generated_per_s=60.0)
        parts, after = daemon.settle(shares("chat", "code", ""), pytest.approx([0.8, 0.2, 0.0], abs=0.03))
        figure(f"as many tokens on 40 and on 10 GiB of one GPU: shares {parts[0]:.3f}, {parts[1]:.3f}")
        assert known_by(after, "chat") == known_by(after, "code") == {"memory_tokens"}


def test_engines_on_mig_instances_share_their_gpu_by_busy_sms_where_the_driver_tells_them(
    tmp_path: Path, figure: Figure
) -> None:
    """A stranger arrives on a third instance and goes; then the agent loses the right to profile."""
    big, small, third = (f"MIG-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c001{n}" for n in (1, 2, 3))
    mig = FakeGpu(A, power_w=400.0, mig=1, gpm=True, instances=((big, 40_960), (small, 10_240), (third, 10_240)))
    mig.sms = {big: 64, small: 16, third: 16}
    driver = FakeDriver(tmp_path, [mig], log_calls=False)
    with engines_on(tmp_path, driver, chat=[big], code=[small]) as (daemon, engines):
        for e in engines.values():
            e.change(generated_per_s=60.0)  # as many tokens each: only busy SMs tell them apart
        driver.change(A, busy={big: 0.25, small: 0.5})
        both = shares("chat", "code", "")
        parts, alone = daemon.settle(both, pytest.approx([2 / 3, 1 / 3, 0.0], abs=0.02))
        figure(f"25% of 64 and 50% of 16 SMs busy: shares {parts[0]:.3f}, {parts[1]:.3f}, foreign {parts[2]:.3f}")
        assert known_by(alone, "chat") == known_by(alone, "code") == {"instance_sm"}

        driver.change(A, busy={big: 0.25, small: 0.5, third: 0.5})
        parts, _ = daemon.settle(both, pytest.approx([0.5, 0.25, 0.25], abs=0.02))
        figure(f"with a stranger on half of another 16: {parts[0]:.3f}, {parts[1]:.3f}, foreign {parts[2]:.3f}")

        driver.fail("nvmlGpmMigSampleGet", 4, A)
        parts, after = daemon.settle(both, pytest.approx([0.8, 0.2, 0.0], abs=0.03))
        figure(f"without the right to profile, by tokens times memory: {parts[0]:.3f}, {parts[1]:.3f}")
        assert known_by(after, "chat") == {"memory_tokens"}
        figure(f"worst imbalance of any scrape on MIG instances: {daemon.worst_imbalance:.1e}")


def test_engines_that_name_no_gpu_are_found_on_theirs_and_followed_when_one_restarts_elsewhere(
    tmp_path: Path, figure: Figure
) -> None:
    """`wide` on A and B, `small` on A beside it; a stranger arrives on B and goes; then `small` restarts on C."""
    driver = FakeDriver(tmp_path, [FakeGpu(A, 400.0), FakeGpu(B, 300.0), FakeGpu(C, 100.0)], log_calls=False)
    stranger = os.getpid()
    with engines_on(tmp_path, driver, wide=None, small=None) as (daemon, engines):
        for e in engines.values():
            e.change(generated_per_s=50.0, prompt_per_s=20.0)
        wide, small = engines["wide"].pid, engines["small"].pid
        serve(driver, A, {wide: 60, small: 20})
        serve(driver, B, {wide: 60})
        daemon.wait_for(
            lambda s: gpus_of(s, "wide") == {A, B} and gpus_of(s, "small") == {A}, what="both are where they run"
        )
        both = shares("wide", "small", "")
        parts, _ = daemon.settle(both, pytest.approx([600 / 800, 100 / 800, 100 / 800], abs=0.04), SEVERAL_S)
        figure(f"found on A and B, and on A beside it: {parts[0]:.3f}, {parts[1]:.3f}, nobody's {parts[2]:.3f}")

        serve(driver, B, {wide: 60, stranger: 60})
        daemon.wait_for(lambda s: s.total(ENERGY, use="foreign") > 0, what="the stranger is seen")
        parts, _ = daemon.settle(both, pytest.approx([450 / 800, 100 / 800, 250 / 800], abs=0.04), SEVERAL_S)
        figure(f"with a stranger on half of B: {parts[0]:.3f}, {parts[1]:.3f}, foreign and nobody's {parts[2]:.3f}")
        serve(driver, B, {wide: 60})

        engines["small"].restart()
        engines["small"].change(generated_per_s=50.0, prompt_per_s=20.0)
        serve(driver, A, {wide: 60})
        serve(driver, C, {engines["small"].pid: 60})
        daemon.wait_for(lambda s: gpus_of(s, "small") == {C}, what="it is followed")
        parts, _ = daemon.settle(both, pytest.approx([700 / 800, 100 / 800, 0.0], abs=0.04), SEVERAL_S)
        figure(f"after it restarted on C: {parts[0]:.3f}, {parts[1]:.3f}, nobody's {parts[2]:.3f}")
        assert len(daemon.lines(r"engine small: on GPU-\S+0003, where its processes hold memory")) == 1
        figure(f"worst imbalance of any scrape over two regroupings: {daemon.worst_imbalance:.1e}")


def test_engines_that_name_nothing_are_found_on_their_mig_instances(tmp_path: Path) -> None:
    big, small = "MIG-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0011", "MIG-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0012"
    mig = FakeGpu(A, power_w=400.0, mig=1, gpm=True, instances=((big, 40_960), (small, 10_240)))
    mig.sms = {big: 64, small: 16}
    driver = FakeDriver(tmp_path, [mig], log_calls=False)
    with engines_on(tmp_path, driver, chat=None, code=None) as (daemon, engines):
        for e in engines.values():
            e.change(generated_per_s=60.0)
        there = {big: (engines["chat"].pid,), small: (engines["code"].pid,)}
        driver.change(A, busy={big: 0.25, small: 0.5}, residents=there)
        daemon.wait_for(lambda s: (gpus_of(s, "chat"), gpus_of(s, "code")) == ({big}, {small}))
        _, after = daemon.settle(shares("chat", "code", ""), pytest.approx([2 / 3, 1 / 3, 0.0], abs=0.03))
        assert known_by(after, "chat") == {"instance_sm"}


def test_an_engine_without_a_gpu_open_takes_no_part_in_the_gpu_of_another_one(beside: Beside, figure: Figure) -> None:
    driver, daemon = beside.driver, beside.daemon
    daemon.wait_for(lambda s: gpus_of(s, "chat") == {A}, what="it is found")
    daemon.wait_for(lambda s: not gpus_of(s, "cpu", "not_seen"), 90.0, "the other one is seen to have none")
    wanted = pytest.approx([0.75, 0.0, 0.25], abs=0.04)
    parts, _ = daemon.settle(shares("chat", "cpu", ""), wanted, SEVERAL_S)
    figure(f"beside an engine without a GPU: shares {parts[0]:.3f}, {parts[1]:.3f}, nobody's {parts[2]:.3f}")
    assert len(daemon.lines(r"engine cpu: its processes have no GPU open; on none")) == 1

    serve(driver, B, {os.getpid(): 50})
    daemon.wait_for(lambda s: gpus_of(s, "cpu", "unclaimed") == {B}, 90.0, "what nobody claims is its")
    figure(f"worst imbalance of any scrape beside it: {daemon.worst_imbalance:.1e}")
