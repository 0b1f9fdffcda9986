"""GPUs that engines take turns on, and what a Joulecar beside them would see.

Engines that share a GPU run their steps in turn, as processes without MPS do: a step has the GPU to itself. An engine
on several GPUs uses all of them alike.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.books import Observed
from agent.model import Device, DeviceKind, EngineFailure, EngineSample, Instant, ProcessUse, Reading
from tests.sim.engine import Engine, Step

WALL_S = 1_790_000_000.0
NOISE_LASTS_S = 20.0
START_S = 1000.0  # of the monotonic clock, so that nothing begins at 0


def at(seconds: float) -> Instant:
    return Instant(START_S + seconds, WALL_S + seconds)


@dataclass(slots=True)
class Machine:
    """Runs the steps of its engines one after the other. idle_w is the floor of all its GPUs together."""

    engines: Sequence[Engine]
    gpus: int = 1
    now_s: float = 0.0
    energy_j: float = 0.0  # of all GPUs
    idle_j: float = 0.0  # the part of it for which nothing ran
    busy_s: dict[str, float] = field(default_factory=dict)
    _steps: list[tuple[Engine, Step]] = field(default_factory=list)  # the one that runs, or none
    _turn: int = 0

    @property
    def idle_w(self) -> float:
        return self.engines[0].costs.idle_w

    def advance(self, to_s: float) -> None:
        """Serve until to_s. A step across it goes on next time: its joules flow evenly."""
        while self.now_s < to_s:
            if not self._steps:
                engine = self._next()
                if engine is None:
                    self._idle(min(to_s, *(e.ready_at() for e in self.engines)))
                    continue
                self._steps = [(engine, engine.begin(self.now_s))]
            engine, step = self._steps[0]
            end_s = step.start_s + step.seconds
            until_s = min(end_s, to_s)
            self.energy_j += step.energy_j * (until_s - self.now_s) / step.seconds
            self.busy_s[engine.name] = self.busy_s.get(engine.name, 0.0) + until_s - self.now_s
            self.now_s = until_s
            if end_s <= to_s:
                engine.end(step)
                self._steps = []

    def _idle(self, until_s: float) -> None:
        energy_j = self.idle_w * (until_s - self.now_s)
        self.energy_j += energy_j
        self.idle_j += energy_j
        self.now_s = until_s

    def _next(self) -> Engine | None:
        for k in range(len(self.engines)):
            engine = self.engines[(self._turn + k) % len(self.engines)]
            if engine.ready_at() <= self.now_s:
                self._turn += k + 1
                return engine
        return None

    def devices(self) -> tuple[Device, ...]:
        return tuple(Device(DeviceKind.GPU, f"GPU-{n}") for n in range(self.gpus))


@dataclass(slots=True)
class _Meter:
    """A counter that is off by a part that wanders (a process of the first order, as temperature and clocks are)."""

    noise: float
    _seen_j: float = 0.0
    _told_j: float = 0.0
    _off: float = 0.0
    _rng: random.Random = field(default_factory=lambda: random.Random(13))

    def read(self, energy_j: float) -> float:
        if not self.noise:
            return energy_j
        keep = 1.0 - 1.0 / NOISE_LASTS_S
        self._off = keep * self._off + (1.0 - keep**2) ** 0.5 * self._rng.gauss(0, self.noise)
        self._told_j += (energy_j - self._seen_j) * (1.0 + self._off)
        self._seen_j = energy_j
        return self._told_j


def watch(
    machine: Machine,
    seconds: float,
    *,
    every_s: float = 5.0,
    sm: bool = False,
    samples: int = 0,
    drain: bool = True,
    noise: float = 0.0,
    late_s: int = 0,
) -> Iterator[Observed]:
    """What the agent observes, tick by tick (1 s): counters of the GPUs, and each engine's page every every_s.

    sm: the driver tells whose processes ran. samples: it samples so often a second and books each sample to one process
    (an H100's: 5); 0: exactly. drain: goes on after `seconds` until all requests are served and a
    window more, so that the truth is the whole truth. noise: how far the meter is off, relative, a standard deviation
    of what wanders within NOISE_LASTS_S. late_s: pages tell tokens as they were so long ago.
    """
    meter = _Meter(noise)
    chance = random.Random(17)
    pages = {e.name: deque([e.sample(at(0), 0.0)], maxlen=late_s + 1) for e in machine.engines}
    used = {e.name: 0.0 for e in machine.engines}
    powers_j = machine.energy_j
    second = 0
    quiet = 0
    while second <= seconds or (drain and quiet < 2 * every_s):
        machine.advance(float(second))
        quiet = 0 if any(e.running or e.waiting(second) for e in machine.engines) else quiet + 1
        shares = {e.name: machine.busy_s.get(e.name, 0.0) - used[e.name] for e in machine.engines}
        used = {e.name: machine.busy_s.get(e.name, 0.0) for e in machine.engines}
        shares = _sampled(shares, samples, chance) if samples else shares
        processes = tuple(ProcessUse(100 + n, min(1.0, shares[e.name])) for n, e in enumerate(machine.engines))
        energy_j = meter.read(machine.energy_j)
        power_w, powers_j = energy_j - powers_j, energy_j
        readings = tuple(
            Reading(
                device,
                at(second),
                energy_j=energy_j / machine.gpus,
                power_w=power_w / machine.gpus if second else None,
                max_power_w=20_000.0,
                processes=processes if sm else None,
            )
            for device in machine.devices()
        )
        replies: tuple[EngineSample | EngineFailure, ...] = ()
        for e in machine.engines if late_s or second % every_s == 0 else ():
            pages[e.name].append(e.sample(at(second), float(second)))
        if second % every_s == 0:
            replies = tuple(
                replace(pages[e.name][-1], at=at(second), counters=pages[e.name][0].counters) for e in machine.engines
            )
        pids = {e.name: frozenset({100 + n}) for n, e in enumerate(machine.engines)} if sm else {}
        yield Observed(at(second), readings, replies, pids=pids)
        second += 1


def _sampled(busy_s: Mapping[str, float], samples: int, chance: random.Random) -> dict[str, float]:
    """Of one second, each sample booked as a whole to whoever ran at one moment of it."""
    told_s = dict.fromkeys(busy_s, 0.0)
    busy = math.fsum(busy_s.values())
    for _ in range(samples if busy > 0 else 0):
        told_s[chance.choices(list(busy_s), list(busy_s.values()))[0]] += min(1.0, busy) / samples
    return told_s
