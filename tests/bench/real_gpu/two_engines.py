"""Two engines that share a GPU: asked one after the other, and then both at once, with the same requests.

Then again beside an agent that knows the first of them alone: the second one is a stranger to it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from agent.ports import Clock
from tests.bench.real_gpu.asked import Load
from tests.bench.real_gpu.beside import Beside, work_j
from tests.bench.real_gpu.client import Client
from tests.bench.real_gpu.gpu import Gpu
from tests.bench.real_gpu.loads import Asker, Tokens
from tests.bench.real_gpu.one_engine import at_rest_w
from tests.bench.real_gpu.plan import CHAT, DOCUMENTS, Plan

ENGINES = ("chat", "docs")
ASKED: dict[str, tuple[int, tuple[float, Tokens, Tokens]]] = {"chat": (5, CHAT), "docs": (6, DOCUMENTS)}  # seed, load


@dataclass(frozen=True, slots=True)
class Step:
    """asked: the engines that had requests; known: those that the agent is told of. above_rest_j: by the driver's
    counter, of the GPU. booked_j: of work by engine, as Joulecar says; what it gives to none of them stands under its
    use."""

    asked: tuple[str, ...]
    known: tuple[str, ...]
    above_rest_j: float
    booked_j: dict[str, float]


@dataclass(frozen=True, slots=True)
class TwoEngines:
    steps: tuple[Step, ...]
    imbalance: float
    errors: tuple[str, ...]


def measure(
    gpu: Gpu, urls: Mapping[str, str], plan: Plan, folder: Path, clock: Clock, recording: Path | None
) -> TwoEngines:
    """urls: of the servers, by name. folder: for the agent's files. recording: of the agent that knows both."""
    clients = {name: Client(urls[name], name, clock) for name in ENGINES}
    askers = {name: Asker(client, clock, gpu.counter_j) for name, client in clients.items()}
    for name, asker in askers.items():
        asker.closed(f"warm_{name}", 2, 64, 32, plan.rest_s / 7)
    askers[ENGINES[0]].pause(plan.rest_s / 2)
    rest_w = at_rest_w(askers[ENGINES[0]], plan.rest_s)
    first, second = ENGINES[:1], ENGINES[1:]
    steps: list[Step] = []
    imbalance = 0.0
    for known, asked in (ENGINES, [first, second, *[ENGINES] * plan.shared_times]), (first, [ENGINES, second]):
        config = plan.config({name: urls[name] for name in known})
        record = recording if known == ENGINES else None
        with Beside(folder / "-".join(known), config, clock, record) as agent:
            agent.await_engines(known)
            agent.settle(plan.settle_s)
            sending = {name: replace(asker, spans_url=agent.spans_url) for name, asker in askers.items()}
            steps += [replace(_step(sending, names, agent, plan, rest_w), known=known) for names in asked]
        imbalance = max(imbalance, agent.daemon.worst_imbalance)
    errors = [error for client in clients.values() for error in client.errors]
    return TwoEngines(tuple(steps), imbalance, tuple(errors))


def _step(askers: dict[str, Asker], names: tuple[str, ...], agent: Beside, plan: Plan, rest_w: float) -> Step:
    booked_j = work_j(agent.daemon.scrape())
    clock, counter_j = askers[names[0]].clock, askers[names[0]].counter_j
    before_s, before_j = clock.now().mono_s, counter_j()

    def ask(name: str) -> Load:
        seed, (rate, prompt, generated) = ASKED[name]
        return askers[name].poisson(name, rate, prompt, generated, plan.shared_s, seed)

    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    above_j = counter_j() - before_j - rest_w * (clock.now().mono_s - before_s)
    after_j = work_j(agent.settle(plan.settle_s))
    return Step(names, ENGINES, above_j, {name: j - booked_j.get(name, 0.0) for name, j in after_j.items()})
