"""One engine under loads of known kinds, without the agent and beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.ports import Clock
from tests.bench.real_gpu import plan as kinds
from tests.bench.real_gpu.asked import Load
from tests.bench.real_gpu.beside import Beside, Cpu, Told
from tests.bench.real_gpu.client import Client
from tests.bench.real_gpu.gpu import Gpu
from tests.bench.real_gpu.loads import Asker
from tests.bench.real_gpu.plan import Plan
from tests.bench.real_gpu.told import Machine

ENGINE = "llama"


@dataclass(frozen=True, slots=True)
class OneEngine:
    """What was measured. told: by trace id. at_rest, busy: the agent's CPU. imbalance: the worst of any page, relative.
    errors: requests that failed."""

    machine: Machine
    loads: tuple[Load, ...]
    told: Mapping[str, Told]
    at_rest: Cpu
    busy: Cpu
    resident_mb: float
    imbalance: float
    errors: tuple[str, ...]


def measure(gpu: Gpu, server_url: str, plan: Plan, folder: Path, clock: Clock, recording: Path | None) -> OneEngine:
    """Takes about the times of the plan. folder: for the agent's files."""
    client = Client(server_url, ENGINE, clock)
    asker = Asker(client, clock, gpu.counter_j)
    asker.closed("warm", 4, 16, 64, plan.rest_s / 7)
    asker.pause(plan.rest_s / 2)
    rest_w = at_rest_w(asker, plan.rest_s)
    without = asker.closed("without_agent", 1, 8, kinds.ANSWER, plan.speed_s)
    with Beside(folder, plan.config({ENGINE: server_url}), clock, recording) as agent:
        agent.await_engines([ENGINE])
        begun = agent.begin()
        asker.pause(plan.settle_s)
        at_rest = agent.cpu_since(begun)
        beside = asker.closed("without_spans_beside", 1, 8, kinds.ANSWER, plan.speed_s)
        agent.settle(plan.settle_s)
        loads, busy = _with_spans(replace(asker, spans_url=agent.spans_url), agent, plan, rest_w)
        told = agent.await_requests([a.trace_id for load in loads for a in load.asked], plan.told_s)
        agent.daemon.scrape()
        resident_mb = agent.resident_mb()
    return OneEngine(
        machine=Machine(gpu.name, gpu.driver, rest_w),
        loads=(without, beside, *loads),
        told=told,
        at_rest=at_rest,
        busy=busy,
        resident_mb=resident_mb,
        imbalance=agent.daemon.worst_imbalance,
        errors=tuple(client.errors),
    )


def at_rest_w(asker: Asker, seconds: float) -> float:
    """The GPU's power with nothing to do, by its counter."""
    before_s, before_j = asker.clock.now().mono_s, asker.counter_j()
    asker.pause(seconds)
    return (asker.counter_j() - before_j) / (asker.clock.now().mono_s - before_s)


def _with_spans(asker: Asker, agent: Beside, plan: Plan, rest_w: float) -> tuple[list[Load], Cpu]:
    """The loads, each with rest behind it, and the agent's CPU during the mixes."""
    loads: list[Load] = []

    def rest(load: Load) -> None:
        loads.append(load)
        agent.settle(plan.settle_s)
        agent.requests()

    rest(asker.closed("prefill_alone", 1, kinds.PROMPT, 1, plan.load_s))
    rest(asker.closed("decode_1", 1, 8, kinds.ANSWER, plan.load_s))
    rest(asker.closed("decode_8", 8, 8, kinds.ANSWER, plan.load_s))
    rest(asker.alone("singles", kinds.SINGLE, plan.single, rest_w))
    busy = Cpu(0.0, 0.0)
    for name, rate, seconds in plan.mixes:
        begun = agent.begin()
        load = asker.poisson(name, rate, kinds.MIXED_PROMPT, kinds.MIXED_ANSWER, seconds)
        busy = busy.plus(agent.cpu_since(begun))
        rest(load)
    return loads, busy
