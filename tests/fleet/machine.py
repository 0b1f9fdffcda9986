"""A machine of the fleet: 8 GPUs, two engines with a model each, and the pages that its agent would serve.

Nothing here is measured: powers and token rates are those of published runs, rounded. The joules, tokens and grams are
what the agent's own books make of these counters, and the pages are its own exposition: all families, real mantissas.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from agent import books, budget
from agent.app import policy
from agent.books import Observed
from agent.config import parse
from agent.model import (
    Device,
    DeviceKind,
    EngineSample,
    GridIntensity,
    Instant,
    Located,
    Part,
    PartHealth,
    Quantity,
    Reading,
    SeriesKey,
    Snapshot,
)
from agent.settings import Settings
from exporters.prometheus import Exposition
from tests.fakes.snapshots import HeldSnapshot

GPUS = 8
PLAIN = '[grid]\nzone = "{zone}"\nproviders = ["table"]\n'
# All accounts that can be switched on: the most series that a machine of two engines has.
FULL = PLAIN + (
    "[site]\npue = 1.15\nnode_overhead_w = 90.0\nwue_l_per_kwh = 1.2\nmarket_g_per_kwh = 120.0\n"
    '[site.price]\nprovider = "fixed"\nper_kwh = 0.162\ncurrency = "EUR"\n'
    "[site.embodied]\nenabled = true\ngpu_kgco2e = 164.0\nserver_kgco2e = 1300.0\n"
    '[[budget]]\nname = "day-energy"\nlimit = "150 kWh"\nperiod = "day"\n'
    '[[budget]]\nname = "week-carbon"\nlimit = "300 kgCO2e"\nperiod = "week"\n'
)
_IDLE_W, _BUSY_W, _FULL_W = 92.0, 350.0, 610.0  # of a GPU
_TOKENS_PER_S = 2600.0  # of a GPU at full load
_PIECE_S = 900.0  # of a grid intensity


@dataclass(frozen=True, slots=True)
class Machine:
    """uuid begins the UUIDs of its GPUs. load: mean share of what each engine's four GPUs can do."""

    uuid: str
    zone: str
    models: tuple[str, str]
    load: tuple[float, float]
    seed: int = 0
    accounts: str = FULL


def pages(machine: Machine, start_s: float, every_s: float) -> Iterator[bytes]:
    """What the agent would answer at start_s (Unix) and every_s after that, without end. process_* is the asker's."""
    held = HeldSnapshot(Snapshot(Instant(0.0, start_s)))
    exposition = Exposition(held)
    for held.held in snapshots(machine, start_s, every_s):
        yield exposition.render()[0]


def snapshots(machine: Machine, start_s: float, every_s: float) -> Iterator[Snapshot]:
    """The agent's snapshots at these times. Its books begin a minute before the first."""
    settings = _settings(machine)
    rules = policy(settings)
    world = _World(machine, Instant(1000.0, start_s - 60.0))
    state = books.begin(world.at, rules)
    budgets = [budget.begin(b, (), world.at.wall_s) for b in settings.budgets]
    step_s = 60.0
    while True:
        world.go_on(step_s)
        step_s = every_s
        state = books.tick(state, world.observed(), rules)
        now_s = world.at.wall_s
        budgets = [budget.advance(b, state.entries, now_s) for b in budgets]
        yield replace(
            books.snapshot(state, rules),
            parts=world.parts(),
            located=Located(machine.zone, "config"),
            budgets=tuple(budget.view(b, now_s) for b in budgets),
            self_energy_j=0.05 * world.at.mono_s,
        )


def _settings(machine: Machine) -> Settings:
    half = GPUS // 2
    engines = "".join(
        f'[[engine]]\nname = "vllm-{i}"\nurl = "http://127.0.0.1:{8000 + i}"\n'
        f"gpus = {list(range(half * i, half * (i + 1)))}\n"
        for i in range(2)
    )
    return parse(engines + machine.accounts.format(zone=machine.zone), env={}, origin=machine.uuid)


@dataclass
class _World:
    """Counters that run: the GPUs' in millijoules, RAPL's in microjoules, as the hardware tells them."""

    machine: Machine
    at: Instant
    rng: random.Random = field(init=False)
    energy_j: dict[Device, float] = field(default_factory=dict)
    power_w: dict[Device, float] = field(default_factory=dict)
    counters: dict[tuple[int, Quantity], float] = field(default_factory=dict)
    running: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.machine.seed)

    def go_on(self, dt_s: float) -> None:
        self.at = self.at.plus(dt_s)
        busy = 0.0
        for i, mean in enumerate(self.machine.load):
            load = self._load(mean, 400.0 + 60.0 * i)
            busy += load / 2
            power_w = _BUSY_W + (_FULL_W - _BUSY_W) * load if load else _IDLE_W
            for n in range(GPUS // 2 * i, GPUS // 2 * (i + 1)):
                self._use(self._gpu(n), self.rng.gauss(power_w, 0.03 * power_w), dt_s, 3)
            self._serve(i, load, dt_s)
        for n in range(2):
            self._use(Device(DeviceKind.CPU, f"package-{n}"), self.rng.gauss(105.0 + 110.0 * busy, 5.0), dt_s, 6)
            self._use(Device(DeviceKind.DRAM, f"dram-{n}"), self.rng.gauss(16.0 + 14.0 * busy, 0.5), dt_s, 6)

    def _load(self, mean: float, wave_s: float) -> float:
        """It comes and goes in waves; in their troughs nothing runs."""
        wave = math.sin(self.at.wall_s / wave_s)
        return min(1.0, mean * (1 + 0.3 * wave) * self.rng.uniform(0.8, 1.2)) if wave > -0.8 else 0.0

    def _use(self, device: Device, power_w: float, dt_s: float, digits: int) -> None:
        self.energy_j[device] = round(self.energy_j.get(device, 5e6) + power_w * dt_s, digits)
        self.power_w[device] = round(power_w, 3)

    def _serve(self, engine: int, load: float, dt_s: float) -> None:
        generated = _TOKENS_PER_S * load**0.8 * (GPUS // 2) * dt_s
        grown = {
            Quantity.GENERATED: generated,
            Quantity.PROMPT_COMPUTED: 2.1 * generated * self.rng.uniform(0.9, 1.1),
            Quantity.PROMPT_CACHED: 1.3 * generated * self.rng.uniform(0.8, 1.2),
            Quantity.REQUESTS: generated / 340.0,
        }
        grown[Quantity.PROMPT] = grown[Quantity.PROMPT_COMPUTED] + grown[Quantity.PROMPT_CACHED]
        for quantity, more in grown.items():
            key = (engine, quantity)
            self.counters[key] = self.counters.get(key, 0.0) + more
        self.running[engine] = math.ceil(load * 160)

    def observed(self) -> Observed:
        readings = tuple(self._reading(device, joules) for device, joules in self.energy_j.items())
        return Observed(self.at, readings, tuple(self._sample(i) for i in range(2)), grid=self._grid())

    def _reading(self, device: Device, energy_j: float) -> Reading:
        if device.kind is DeviceKind.GPU:
            name, index = "NVIDIA H100 80GB HBM3", int(device.key[-1])
            return Reading(
                device, self.at, energy_j=energy_j, power_w=self.power_w[device], max_power_w=700.0, name=name,
                index=index,
            )  # fmt: skip
        return Reading(
            device, self.at, energy_j=energy_j, name="AMD EPYC 9354" if device.kind is DeviceKind.CPU else ""
        )

    def _sample(self, engine: int) -> EngineSample:
        model = self.machine.models[engine]
        counters: dict[SeriesKey, float] = {}
        for (of, quantity), count in self.counters.items():
            if of != engine:
                continue
            if quantity is Quantity.REQUESTS:
                counters[SeriesKey(quantity, model, outcome="stop")] = float(int(0.9 * count))
                counters[SeriesKey(quantity, model, outcome="length")] = float(int(0.1 * count))
            else:
                counters[SeriesKey(quantity, model)] = float(int(count))
        return EngineSample(
            f"vllm-{engine}", self.at, "vllm", counters, {model: self.running[engine]}, {model: 0.0}, version="0.11.0"
        )

    def _grid(self) -> tuple[GridIntensity, ...]:
        """What holds around now, in quarters of an hour."""
        start_s = self.at.wall_s // _PIECE_S * _PIECE_S
        return tuple(
            GridIntensity(
                self.machine.zone, 200.0 + 150.0 * math.sin(s / 13_750.0 + len(self.machine.zone)), "energy_charts",
                valid_from_s=s, valid_to_s=s + _PIECE_S, fetched_at_s=s + 40.0,
            )
            for s in (start_s - _PIECE_S, start_s)
        )  # fmt: skip

    def parts(self) -> tuple[PartHealth, ...]:
        names = (
            (Part.SOURCE, "nvml"), (Part.SOURCE, "rapl"), (Part.ENGINE, "vllm-0"), (Part.ENGINE, "vllm-1"),
            (Part.GRID, "energy_charts"), (Part.GRID, "zone"), (Part.LEDGER, "state"),
        )  # fmt: skip
        return tuple(PartHealth(part, name, True, 0, self.at.wall_s) for part, name in names)

    def _gpu(self, n: int) -> Device:
        return Device(DeviceKind.GPU, f"GPU-{self.machine.uuid}-0b62-4a9e-9d0e-3f6a5f0c000{n}")
