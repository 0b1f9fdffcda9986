"""A small serving world for the arithmetic's tests: devices and engines whose every joule and token is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.books import Observed
from agent.model import (
    Device,
    DeviceKind,
    EngineFailure,
    EngineSample,
    GridIntensity,
    Instant,
    Quantity,
    Reading,
    SeriesKey,
)

WALL_S = 1_790_000_000.0


def at(mono_s: float) -> Instant:
    return Instant(mono_s, WALL_S + mono_s)


def gpu(n: int) -> Device:
    return Device(DeviceKind.GPU, f"GPU-{n}")


CPU = Device(DeviceKind.CPU, "package-0")


@dataclass
class Service:
    """Counters that grow as told. tick() says what a loop would have observed."""

    mono_s: float = 0.0
    wall_s: float = WALL_S  # at mono_s 0: who changes it sets the machine's clock
    energy_j: dict[Device, float] = field(default_factory=dict)
    power_w: dict[Device, float] = field(default_factory=dict)
    tokens: dict[tuple[str, str, Quantity], float] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    models: dict[str, tuple[str, ...]] = field(default_factory=dict)
    grid: tuple[GridIntensity, ...] = ()

    @property
    def at(self) -> Instant:
        return Instant(self.mono_s, self.wall_s + self.mono_s)

    def go_on(self, seconds: float, power_w: Mapping[Device, float]) -> None:
        """Time passes at these powers."""
        self.mono_s += seconds
        for device, watts in power_w.items():
            self.energy_j[device] = self.energy_j.get(device, 0.0) + watts * seconds
            self.power_w[device] = watts

    def book(
        self, engine: str, *, generated: float = 0, computed: float = 0, cached: float = 0, model: str = "m"
    ) -> None:
        """The engine's counters grow."""
        for quantity, count in (
            (Quantity.GENERATED, generated),
            (Quantity.PROMPT_COMPUTED, computed),
            (Quantity.PROMPT_CACHED, cached),
            (Quantity.PROMPT, computed + cached),
        ):
            key = (engine, model, quantity)
            self.tokens[key] = self.tokens.get(key, 0.0) + count

    def sample(self, engine: str) -> EngineSample:
        counters = {SeriesKey(q, m): v for (e, m, q), v in self.tokens.items() if e == engine}
        models = self.models.get(engine, ("m",))
        running = {models[0]: self.running.get(engine, 0.0)}
        return EngineSample(engine, self.at, "vllm", counters, running, {})

    def down(self, engine: str, reason: str = "timeout") -> EngineFailure:
        return EngineFailure(engine, self.at, reason)

    def tick(self, *replies: EngineSample | EngineFailure, failed: frozenset[Device] = frozenset()) -> Observed:
        readings = tuple(
            Reading(d, self.at, error="timeout")
            if d in failed
            else Reading(d, self.at, energy_j=j, power_w=self.power_w[d], max_power_w=800.0)
            for d, j in sorted(self.energy_j.items())
        )
        return Observed(self.at, readings, replies, self.grid)
