"""A day of four machines in two clusters, made up second by second and booked by the agent's own arithmetic.

Nothing here is measured: powers and token rates are those of published runs, rounded. The joules, tokens, grams and
money that the pictures show are what the real books make of them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from agent import books, budget
from agent.app import policy
from agent.books import Observed
from agent.config import parse
from agent.model import (
    Device,
    DeviceKind,
    EnergyPrice,
    EngineFailure,
    EngineSample,
    GridIntensity,
    Instant,
    Located,
    Part,
    PartHealth,
    Quantity,
    Reading,
    RequestSpan,
    SeriesKey,
    Snapshot,
    Use,
)
from agent.settings import Settings

END_S = 1_791_999_000.0  # 2026-10-14 17:30 UTC, a Wednesday afternoon
LENGTH_S = 26 * 3600.0
CLOSE_S = 75 * 60.0  # the last part is scraped as often as in earnest
TICK_S, CLOSE_TICK_S = 20.0, 5.0
SCRAPE_S, CLOSE_SCRAPE_S = 60.0, 15.0
HOUR_S = 3600.0

_GPU_IDLE_W = 92.0
_GPU_BUSY_W, _GPU_FULL_W = 350.0, 610.0
_TOKENS_PER_S = 2600.0  # of one GPU at full load
_PIECE_S = 900.0


@dataclass(frozen=True, slots=True)
class Serving:
    """An engine with one model. Load is a share of what its GPUs can do."""

    engine: str
    model: str
    gpus: tuple[int, ...]
    night: float
    noon: float
    peak_h: float  # UTC
    bursts: bool = False  # nothing runs in between


@dataclass(frozen=True, slots=True)
class Machine:
    """One agent's machine. unreadable: the engine's page, from and to, in seconds before the end."""

    cluster: str
    instance: str
    zone: str
    currency: str
    servings: tuple[Serving, ...]
    budget: str
    unreadable: tuple[str, float, float] | None = None
    tenants: tuple[str, ...] = ()  # whose requests send spans, of late
    gpu_lost: tuple[int, float, float] | None = None  # which, from and to before the end
    feed_lost: tuple[float, float] | None = None


MACHINES = (
    Machine(
        "paris", "gpu-a1:9420", "FR", "EUR",
        (Serving("chat", "qwen3-32b", (0, 1), 0.06, 0.72, 14.0),),
        "35 kWh", feed_lost=(9 * HOUR_S, 5 * HOUR_S),
    ),
    Machine(
        "paris", "gpu-a2:9420", "FR", "EUR",
        (
            Serving("agents", "llama-3.3-70b", (0,), 0.1, 0.7, 14.0, bursts=True),
            Serving("code", "devstral-24b", (1,), 0.08, 0.6, 13.0),
        ),
        "25 kWh", unreadable=("code", 2100.0, 2045.0), tenants=("search", "support", "legal", "research"),
        feed_lost=(9 * HOUR_S, 5 * HOUR_S),
    ),
    Machine(
        "fremont", "gpu-w1:9420", "US-CA", "USD",
        (Serving("chat", "qwen3-32b", (0, 1), 0.05, 0.55, 19.0),),
        "25 kWh",
    ),
    Machine(
        "fremont", "gpu-w2:9420", "US-CA", "USD",
        (Serving("batch", "llama-3.3-70b", (0,), 0.85, 0.1, 20.0),),
        "20 kWh", gpu_lost=(1, 3000.0, 2800.0),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What one agent's page said at one moment."""

    at_s: float
    cluster: str
    instance: str
    snapshot: Snapshot
    process: Mapping[str, float]


def day(machine: Machine) -> Iterator[Seen]:
    """The scrapes of one machine in order."""
    settings = _settings(machine)
    rules = policy(settings)
    world = _World(machine, random.Random(machine.instance))
    state = books.begin(world.at, rules)
    budgets = [budget.begin(b, (), world.at.wall_s) for b in settings.budgets]
    scrape_at_s = END_S - LENGTH_S + SCRAPE_S
    cpu_s = 0.0
    while world.at.wall_s < END_S:
        close = world.at.wall_s >= END_S - CLOSE_S
        world.go_on(CLOSE_TICK_S if close else TICK_S)
        now_s = world.at.wall_s
        state = books.tick(state, world.observed(), rules)
        budgets = [budget.advance(b, state.entries, now_s) for b in budgets]
        cpu_s += world.dt_s * (0.004 + 0.001 * world.rng.random())
        if now_s < scrape_at_s:
            continue
        scrape_at_s += CLOSE_SCRAPE_S if close else SCRAPE_S
        snapshot = replace(
            books.snapshot(state, rules),
            parts=world.parts(),
            located=Located(machine.zone, "config"),
            self_energy_j=0.05 * (LENGTH_S - (END_S - now_s)),
            budgets=tuple(budget.view(b, now_s) for b in budgets),
            settlement_gco2e=world.settlement(state.ledger.facility_gco2e),
        )
        memory = 57.4e6 + 3e5 * math.sin(now_s / 7000)
        yield Seen(
            now_s,
            machine.cluster,
            machine.instance,
            snapshot,
            {"process_cpu_seconds_total": cpu_s, "process_resident_memory_bytes": memory},
        )


_OTLP = '[otlp]\nlisten = "127.0.0.1:4318"\ngroup_by = ["tenant"]\n'
_DAY_AHEAD = 'provider = "energy_charts"\nzone = "FR"\n'


def _settings(machine: Machine) -> Settings:
    engines = "".join(
        f'[[engine]]\nname = "{s.engine}"\nurl = "http://127.0.0.1:{8000 + i}"\ngpus = {list(s.gpus)}\n'
        for i, s in enumerate(machine.servings)
    )
    return parse(
        engines
        + (_OTLP if machine.tenants else "")
        + f'[grid]\nzone = "{machine.zone}"\nproviders = ["table"]\n'
        + "[site]\npue = 1.15\nnode_overhead_w = 90.0\nwue_l_per_kwh = 1.2\nmarket_g_per_kwh = 120.0\n"
        + "[site.price]\n"
        + ('provider = "fixed"\nper_kwh = 0.162\ncurrency = "USD"\n' if machine.currency == "USD" else _DAY_AHEAD)
        + "[site.embodied]\nenabled = true\ngpu_kgco2e = 164.0\nserver_kgco2e = 1300.0\n"
        + f'[[budget]]\nname = "day-energy"\nlimit = "{machine.budget}"\nperiod = "day"\n'
        + '[[budget]]\nname = "week-carbon"\nlimit = "30 kgCO2e"\nperiod = "week"\n',
        env={},
        origin=machine.instance,
    )


@dataclass
class _World:
    """Counters that run."""

    machine: Machine
    rng: random.Random
    at: Instant = field(default_factory=lambda: Instant(1000.0, END_S - LENGTH_S))
    dt_s: float = 0.0
    energy_j: dict[Device, float] = field(default_factory=dict)
    power_w: dict[Device, float] = field(default_factory=dict)
    counters: dict[tuple[str, Quantity], float] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    spans: list[RequestSpan] = field(default_factory=list)
    sent: int = 0

    def go_on(self, dt_s: float) -> None:
        self.at, self.dt_s = self.at.plus(dt_s), dt_s
        powers_w = {_gpu(i): 68.0 for i in range(2)}  # no engine
        busy = 0.0
        for serving in self.machine.servings:
            load = self._load(serving)
            busy += load * len(serving.gpus) / 2
            for i in serving.gpus:
                powers_w[_gpu(i)] = (
                    _GPU_BUSY_W + (_GPU_FULL_W - _GPU_BUSY_W) * load if load > 0 else _GPU_IDLE_W
                ) * self.rng.uniform(0.97, 1.03)
            self._serve(serving, load)
        powers_w[_CPU] = 105.0 + 110.0 * busy + self.rng.uniform(-5, 5)
        powers_w[_DRAM] = 16.0 + 14.0 * busy
        for device, watts in powers_w.items():
            self.energy_j[device] = self.energy_j.get(device, 5e6) + watts * dt_s
            self.power_w[device] = watts
        if self._within(self.machine.gpu_lost and self.machine.gpu_lost[1:]):
            self.energy_j[_gpu(1)] = 0.0  # the driver is loaded anew: its counter begins at 0

    def _load(self, serving: Serving) -> float:
        hour = self.at.wall_s / HOUR_S % 24
        shape = (0.5 + 0.5 * math.cos((hour - serving.peak_h) / 24 * 2 * math.pi)) ** 1.6
        wave = 1 + 0.18 * math.sin(self.at.wall_s / 430.0) + 0.1 * math.sin(self.at.wall_s / 97.0)
        load = (serving.night + (serving.noon - serving.night) * shape) * wave * self.rng.uniform(0.9, 1.1)
        resting = serving.bursts and math.sin(self.at.wall_s / 260.0) < -0.35
        return min(1.0, load) if load > 0.04 and not resting else 0.0

    def _serve(self, serving: Serving, load: float) -> None:
        size = 2.4 if "70b" in serving.model else 1.0
        generated = _TOKENS_PER_S / size * load**0.8 * len(serving.gpus) * self.dt_s
        grown = {
            Quantity.GENERATED: generated,
            Quantity.PROMPT_COMPUTED: 2.1 * generated,
            Quantity.PROMPT_CACHED: 1.3 * generated,
            Quantity.PROMPT: 3.4 * generated,
            Quantity.REQUESTS: generated / 340.0,
        }
        for quantity, more in grown.items():
            key = (serving.engine, quantity)
            self.counters[key] = self.counters.get(key, 0.0) + more
        self.running[serving.engine] = math.ceil(load * 40)
        if self.machine.tenants and self.at.wall_s >= END_S - CLOSE_S:
            self._send(serving, generated, load)

    def _send(self, serving: Serving, generated: float, load: float) -> None:
        """Spans of requests that generated so many tokens just now; one request in twenty has none."""
        while generated > 0:
            tokens = min(generated, 340.0 * math.exp(self.rng.gauss(-0.2, 0.6)))
            generated -= tokens
            end_s = self.at.wall_s - self.rng.random() * self.dt_s
            decode_s = min(0.9 * self.dt_s, tokens * (0.011 + 0.02 * load))
            self.sent += 1
            if self.sent % 20 == 0:
                continue
            tenants = self.machine.tenants
            who = tenants[min(len(tenants) - 1, int(self.rng.expovariate(1.1)))]
            self.spans.append(
                RequestSpan(
                    serving.engine, end_s - decode_s - 0.3, end_s, serving.model, span_id=f"{self.sent:016x}",
                    trace_id=f"{self.sent:032x}", queue_s=0.05, prefill_s=0.25, decode_s=decode_s,
                    prompt_tokens=3.4 * tokens, cached_tokens=1.3 * tokens, generated_tokens=tokens,
                    group=(("tenant", who),),
                )
            )  # fmt: skip

    def observed(self) -> Observed:
        lost = self.machine.gpu_lost
        readings = tuple(
            Reading(d, self.at, error="unknown error")
            if lost and d == _gpu(lost[0]) and self._within(lost[1:])
            else _reading(d, self.at, joules, self.power_w[d])
            for d, joules in self.energy_j.items()
        )
        replies = tuple(map(self._reply, self.machine.servings))
        spans, self.spans = tuple(self.spans), []
        return Observed(self.at, readings, replies, grid=self._grid(), prices=self._prices(), spans=spans)

    def _reply(self, serving: Serving) -> EngineSample | EngineFailure:
        if self._is_unreadable(serving.engine):
            self.errors[serving.engine] = self.errors.get(serving.engine, 0) + 1
            return EngineFailure(serving.engine, self.at, "no answer within 4 s")
        model = serving.model
        counters = {
            SeriesKey(q, model, outcome="stop" if q is Quantity.REQUESTS else ""): float(int(v))
            for (e, q), v in self.counters.items()
            if e == serving.engine
        }
        return EngineSample(
            serving.engine, self.at, "vllm", counters, {model: self.running[serving.engine]}, {model: 0.0}
        )

    def _grid(self) -> tuple[GridIntensity, ...]:
        """What holds around now, in quarters of an hour."""
        start_s = self.at.wall_s // _PIECE_S * _PIECE_S
        zone = self.machine.zone
        told = []
        for from_s in (start_s - _PIECE_S, start_s):
            kind, fetched_s = self._rung(from_s)
            provider = "energy_charts" if zone == "FR" else "caiso"
            basis = "lifecycle" if zone == "FR" else "direct"
            told.append(
                GridIntensity(
                    zone, _g_per_kwh(zone, fetched_s if kind == "last_value" else from_s), provider, "average", basis,
                    kind, from_s, from_s + _PIECE_S, fetched_s,
                )
            )  # fmt: skip
            told.append(
                GridIntensity(
                    zone, 1.4 * _g_per_kwh(zone, from_s) + 120.0, "watttime", "marginal", "direct",
                    "actual", from_s, from_s + _PIECE_S, from_s + 60.0,
                )
            )  # fmt: skip
        return tuple(told)

    def _rung(self, from_s: float) -> tuple[str, float]:
        """Kind, and when it was fetched."""
        lost = self.machine.feed_lost
        if lost is None or not END_S - lost[0] <= from_s < END_S - lost[1]:
            return "actual", from_s + 40.0
        fetched_s = (END_S - lost[0]) // _PIECE_S * _PIECE_S + 40.0
        return ("last_value" if from_s - fetched_s < 3 * HOUR_S else "last_value_shaped"), fetched_s

    def _prices(self) -> tuple[EnergyPrice, ...]:
        hour_s = self.at.wall_s // HOUR_S * HOUR_S
        if self.machine.currency == "USD":
            return (EnergyPrice("", 0.162, "USD", "fixed", "fixed"),)
        return tuple(
            EnergyPrice("FR", _eur_per_kwh(s), "EUR", "energy_charts", "day_ahead", s, s + HOUR_S, s - 9 * HOUR_S)
            for s in (hour_s - HOUR_S, hour_s)
        )

    def parts(self) -> tuple[PartHealth, ...]:
        now_s = self.at.wall_s
        engines = [
            PartHealth(Part.ENGINE, s.engine, not self._is_unreadable(s.engine), self.errors.get(s.engine, 0), now_s)
            for s in self.machine.servings
        ]
        grid_up = self._rung(now_s)[0] == "actual"
        gpu_up = not self._within(self.machine.gpu_lost and self.machine.gpu_lost[1:])
        return (
            PartHealth(Part.SOURCE, "nvml", gpu_up, 0, now_s),
            PartHealth(Part.SOURCE, "rapl", True, 0, now_s),
            *engines,
            PartHealth(Part.GRID, "energy_charts" if self.machine.zone == "FR" else "caiso", grid_up, 0, now_s),
        )

    def settlement(self, grams: Mapping[tuple[str, str, Use], float]) -> dict[tuple[str, str], float]:
        """Final values are a little below the first ones in the one zone, above in the other."""
        share = -0.021 if self.machine.zone == "FR" else 0.013
        known = max(0.0, 1.0 - 20 * HOUR_S / (self.at.wall_s - (END_S - LENGTH_S)))
        out: dict[tuple[str, str], float] = {}
        for (engine, model, _), g in grams.items():
            out[engine, model] = out.get((engine, model), 0.0) + share * known * g
        return out

    def _is_unreadable(self, engine: str) -> bool:
        lost = self.machine.unreadable
        return lost is not None and lost[0] == engine and self._within(lost[1:])

    def _within(self, before_end: tuple[float, float] | None) -> bool:
        return before_end is not None and END_S - before_end[0] <= self.at.wall_s < END_S - before_end[1]


_CPU = Device(DeviceKind.CPU, "package-0")
_DRAM = Device(DeviceKind.DRAM, "dram-0")


def _gpu(index: int) -> Device:
    return Device(DeviceKind.GPU, f"GPU-{index}")


def _reading(device: Device, at: Instant, energy_j: float, power_w: float) -> Reading:
    if device.kind is DeviceKind.GPU:
        index = int(device.key[-1])
        return Reading(
            device, at, energy_j=energy_j, power_w=0.985 * power_w, max_power_w=700.0, name="H100", index=index
        )
    return Reading(device, at, energy_j=energy_j, name="EPYC 9354" if device == _CPU else "")


def _g_per_kwh(zone: str, at_s: float) -> float:
    if zone == "FR":
        return 38.0 + 14.0 * _bump(at_s, 18.5, 2.2) - 6.0 * _bump(at_s, 12.0, 2.5)
    return 265.0 - 165.0 * _bump(at_s, 20.0, 3.6)  # California's sun, in UTC


def _eur_per_kwh(at_s: float) -> float:
    return round(0.082 - 0.095 * _bump(at_s, 12.5, 2.0) + 0.055 * _bump(at_s, 18.0, 1.6), 4)


def _bump(at_s: float, hour: float, width_h: float) -> float:
    """1 at that hour of the day, falling to 0 on both sides."""
    off_h = (at_s / HOUR_S - hour + 12) % 24 - 12
    return math.exp(-((off_h / width_h) ** 2))
