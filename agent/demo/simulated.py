"""The bundled trace: eight minutes of two GPUs, a CPU and a vLLM, none of which exists.

Every name in it says so. What goes on, by seconds:

      0  loaded and idle                           130  GPU 1 cannot be read for five seconds: nothing is lost
     20  a few chats                               150  one scrape times out
    110  many chats                               ~200  the CPU's counter wraps
    185  idle                                      240  the grid gets cleaner
    215  long documents, short answers             280  the engine stops; the GPU driver is loaded anew, so that
    265  idle                                           the GPUs' counters are reset
    310  agents: much of each prompt is cached     290  the engine loads, and is back at 310, its counters at 0
    455  idle, to 480

`python -m agent.demo.simulated` writes the bundled file anew; a test holds it to generate().
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from agent.demo.simulated_engine import LOADED_W, SimulatedEngine, Traffic, stopped_power_w
from agent.model import Device, DeviceKind, GridIntensity, Instant, Reading, RequestSpan
from agent.trace import Tick, TraceEngine, encode_tick

ENGINE = "simulated-vllm"
ZONE = "simulated"
DURATION_S = 480
SEED = 7

_BUNDLED = "simulated.jsonl.gz"
_START = Instant(1000.0, 1_790_000_000.0)
_SCRAPE_EVERY_S = 5
_SPANS_EVERY_S = 5  # as OpenTelemetry's exporters send them
_SUBSTEPS = 10  # a second

_QUIET = Traffic(0.0)
_TRAFFIC = (  # from that second on
    (0, _QUIET),
    (20, Traffic(0.7)),
    (110, Traffic(4.5)),
    (185, _QUIET),
    (215, Traffic(1.6, prompt=(2500, 6000), cached_share=0.05, output=(20, 90))),
    (265, _QUIET),
    (310, Traffic(3.0, prompt=(1500, 4000), cached_share=0.45, output=(80, 260))),
    (455, _QUIET),
)
_GPU_1_UNREADABLE = range(130, 135)
_SCRAPE_TIMES_OUT = 150
_ENGINE_DOWN = range(280, 310)
_DRIVER_RELOADS = range(283, 287)
_LOADING_FROM = 290

_GPU_MAX_W = 700.0
_CPU_WRAPS_AT_J = 262_143.328850  # RAPL's range on servers of Intel
_DRAM_WRAPS_AT_J = 65_712.999613
_GRID = ((0, 240, 412.0), (240, DURATION_S + 3600, 296.0))  # from, to, g/kWh


@dataclass(slots=True)
class _Counter:
    """A hardware counter of energy: counts up in its own steps, may wrap, may be reset."""

    device: Device
    name: str
    energy_j: float
    step_j: float
    wraps_at_j: float | None = None

    def add(self, energy_j: float) -> None:
        self.energy_j += energy_j
        if self.wraps_at_j is not None and self.energy_j >= self.wraps_at_j:
            self.energy_j -= self.wraps_at_j

    def value_j(self) -> float:
        """What a reader sees: whole steps."""
        return round(int(self.energy_j / self.step_j) * self.step_j, 6)


def simulated_trace() -> Iterator[str]:
    """The bundled trace, line by line, in the trace format."""
    with (
        resources.files("agent").joinpath("data", _BUNDLED).open("rb") as packed,
        gzip.open(packed, "rt", encoding="utf-8") as lines,
    ):
        yield from lines


def generate() -> Iterator[str]:
    """The trace as it is made: the same lines every time, each with its newline."""
    for tick in _ticks(random.Random(SEED)):  # noqa: S311 - a story, not a secret
        yield encode_tick(tick) + "\n"


def _ticks(rng: random.Random) -> Iterator[Tick]:
    engine = SimulatedEngine(started_wall_s=_START.wall_s - 5400.0)
    gpus = [
        _Counter(Device(DeviceKind.GPU, f"GPU-simulated-{i}"), "simulated H100", energy_j, step_j=0.001)
        for i, energy_j in enumerate((48_211_903.517, 47_960_288.094))
    ]
    cpu = _Counter(
        Device(DeviceKind.CPU, "simulated-package-0"), "simulated package-0", 226_900.0, 1e-6, _CPU_WRAPS_AT_J
    )
    dram = _Counter(Device(DeviceKind.DRAM, "simulated-dram-0"), "simulated dram", 8_800.0, 1e-6, _DRAM_WRAPS_AT_J)
    powers_w = [LOADED_W] * len(gpus)

    for second in range(DURATION_S + 1):
        at = _START.plus(float(second))
        if second > 0:
            powers_w = _advance(second - 1, engine, gpus, rng)
            busy = sum(powers_w) / (len(gpus) * _GPU_MAX_W)
            cpu.add(118.0 + 95.0 * busy + 6.0 * rng.random())
            dram.add(14.0 + 12.0 * busy + rng.random())
        if second == _DRIVER_RELOADS.start:
            for gpu in gpus:
                gpu.energy_j = 0.0
        if second == _ENGINE_DOWN.stop:
            engine.restart(round(at.wall_s - 1.25, 2))
        yield Tick(
            at,
            readings=(
                *(
                    _gpu_reading(i, gpu, power_w, second, at, rng)
                    for i, (gpu, power_w) in enumerate(zip(gpus, powers_w, strict=True))
                ),
                *(_rapl_reading(counter, at) for counter in (cpu, dram)),
            ),
            engines=(_scrape(engine, second, at),) if second % _SCRAPE_EVERY_S == 0 else (),
            grid=_grid() if second == 0 else (),
            spans=_sent(engine) if second % _SPANS_EVERY_S == 0 else (),
        )


def _advance(second: int, engine: SimulatedEngine, gpus: list[_Counter], rng: random.Random) -> list[float]:
    """One second of everything. What each GPU's power sensor shows at its end, in watts."""
    traffic = next(traffic for since, traffic in reversed(_TRAFFIC) if second >= since)
    powers_w = [0.0] * len(gpus)
    for step in range(_SUBSTEPS):
        now_s = _START.wall_s + second + step / _SUBSTEPS
        if second in _ENGINE_DOWN:
            power_w = stopped_power_w(loading=second >= _LOADING_FROM)
        else:
            power_w = engine.advance(now_s, 1.0 / _SUBSTEPS, traffic, rng)
        for i, gpu in enumerate(gpus):
            # No two GPUs draw the same, and none draws the same twice.
            powers_w[i] = power_w * (1.0 + 0.02 * i) * (0.985 + 0.03 * rng.random())
            gpu.add(powers_w[i] / _SUBSTEPS)
    return powers_w


def _gpu_reading(index: int, gpu: _Counter, power_w: float, second: int, at: Instant, rng: random.Random) -> Reading:
    sensor_w = round(power_w * (0.995 + 0.01 * rng.random()), 3)
    error = None
    if second in _DRIVER_RELOADS:
        error = "driver not loaded"
    elif index == 1 and second in _GPU_1_UNREADABLE:
        error = "unknown error"
    if error is not None:
        return Reading(gpu.device, at, name=gpu.name, index=index, error=error)
    return Reading(
        gpu.device,
        at,
        energy_j=gpu.value_j(),
        power_w=sensor_w,
        max_power_w=_GPU_MAX_W,
        name=gpu.name,
        index=index,
    )


def _rapl_reading(counter: _Counter, at: Instant) -> Reading:
    return Reading(counter.device, at, energy_j=counter.value_j(), wraps_at_j=counter.wraps_at_j, name=counter.name)


def _scrape(engine: SimulatedEngine, second: int, at: Instant) -> TraceEngine:
    if second in _ENGINE_DOWN:
        return TraceEngine(ENGINE, at, error="connection refused", not_serving=True)
    if second == _SCRAPE_TIMES_OUT:
        return TraceEngine(ENGINE, at, error="no answer within 4 s")
    return TraceEngine(ENGINE, at, page=engine.page())


def _sent(engine: SimulatedEngine) -> tuple[RequestSpan, ...]:
    sent = tuple(replace(span, engine=ENGINE) for span in engine.spans)
    engine.spans.clear()
    return sent


def _grid() -> tuple[GridIntensity, ...]:
    return tuple(
        GridIntensity(
            ZONE,
            g_per_kwh,
            provider="simulated",
            kind="simulated",
            valid_from_s=_START.wall_s + since,
            valid_to_s=_START.wall_s + until,
            source="simulated, not a grid's",
        )
        for since, until, g_per_kwh in _GRID
    )


def write(path: Path) -> None:
    """Write the generated trace, packed, with nothing in it that differs from one day to the next."""
    with path.open("wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
        for line in generate():
            packed.write(line.encode())


if __name__ == "__main__":
    write(Path(__file__).parents[1] / "data" / _BUNDLED)
