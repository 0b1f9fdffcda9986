"""The measuring thread: deadlines, failures, the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from agent.accounts import Rules
from agent.books import Books, Observed, Policy
from agent.engines.page import read_page
from agent.health import Health
from agent.loop import EngineReply, Loop, World, recorded
from agent.model import EngineFailure, Part, Reading, RequestEnergy, RequestSpan, TokenType
from agent.poll import Cell
from agent.replay import replay
from agent.requests import RequestRules
from agent.sources.selfshare import CpuSeconds
from agent.trace import Tick, encode_tick, read_trace
from tests.fakes.clock import FakeClock
from tests.fakes.service import CPU, Service, at, gpu

POLICY = Policy(rules=Rules(engines={"a": None}))

PAGE = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{model_name="m"}} 1
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{{model_name="m"}} {prompt}
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{{model_name="m"}} {generated}
# TYPE vllm:request_success_total counter
vllm:request_success_total{{model_name="m",finished_reason="stop"}} 0
"""


class Machine:
    """Sensors of one GPU at 300 W and a CPU at 40 W, driven by a clock; raises where told to."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.reads: list[float] = []
        self.broken: set[int] = set()
        self.slow_s = 0.0
        self.closed = False

    def read(self) -> tuple[Reading, ...]:
        now = self.clock.now()
        self.reads.append(now.mono_s)
        if len(self.reads) in self.broken:
            raise RuntimeError("surprise")
        if self.slow_s:
            self.clock.advance(self.slow_s)
        t = now.mono_s
        return (
            Reading(gpu(0), now, energy_j=300.0 * t, power_w=300.0, max_power_w=700.0, name="H100", index=0),
            Reading(CPU, now, energy_j=40.0 * t, max_power_w=200.0),
        )

    def close(self) -> None:
        self.closed = True


class StopAfter(FakeClock):
    """Stops when so many waits were asked for."""

    def __init__(self, waits: int) -> None:
        super().__init__(mono_s=0.0)
        self.asked: list[float] = []
        self._left = waits
        self.on_wait: Callable[[], None] = lambda: None

    def wait_until(self, mono_s: float) -> bool:
        self.asked.append(mono_s)
        self.on_wait()
        if len(self.asked) > self._left:
            self.stop()
        return super().wait_until(mono_s)


def loop(
    clock: FakeClock,
    machine: Machine,
    *,
    engines: Sequence[Cell[EngineReply]] = (),
    own_cpu: Callable[[], CpuSeconds | None] = lambda: None,
    health: Health | None = None,
    record: Callable[[Tick, Books], None] | None = None,
) -> Loop:
    world = World(machine, engines, own_cpu=own_cpu)
    return Loop(clock, world, POLICY, health or Health(), interval_s=1.0, record=record)


def test_ticks_keep_absolute_deadlines() -> None:
    clock = StopAfter(5)
    machine = Machine(clock)
    machine.slow_s = 0.3
    loop(clock, machine).run()
    assert clock.asked == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_an_overrun_skips_whole_ticks() -> None:
    clock = StopAfter(3)
    machine = Machine(clock)
    machine.slow_s = 2.5
    loop(clock, machine).run()
    assert clock.asked == [0.0, 3.0, 6.0, 9.0]


def test_at_the_stop_everything_is_booked_and_the_sensors_are_closed() -> None:
    clock = StopAfter(8)
    machine = Machine(clock)
    agent = loop(clock, machine)
    agent.run()
    shown = agent.snapshot()
    assert machine.closed
    assert sum(shown.pending_j.values()) == 0.0
    assert sum(shown.ledger.energy_j.values()) == pytest.approx(sum(shown.ledger.device_energy_j.values()))
    assert shown.ledger.device_energy_j[gpu(0)] == pytest.approx(300.0 * (machine.reads[-1] - machine.reads[0]))


def test_a_tick_that_fails_costs_no_joule(caplog: pytest.LogCaptureFixture) -> None:
    clock = StopAfter(10)
    machine = Machine(clock)
    machine.broken = {4, 5}
    health = Health()
    agent = loop(clock, machine, health=health)
    agent.run()
    assert agent.snapshot().ledger.device_energy_j[gpu(0)] == pytest.approx(300.0 * machine.reads[-1])
    assert "surprise" in caplog.text
    (tick,) = [p for p in health.states() if p.part is Part.LEDGER]
    assert (tick.up, tick.errors_total) == (True, 2)


def test_ticks_that_fail_for_good_are_told_once_and_shown(caplog: pytest.LogCaptureFixture) -> None:
    clock = StopAfter(10)
    machine = Machine(clock)
    machine.broken = set(range(4, 99))
    agent = loop(clock, machine)
    agent.run()
    assert caplog.text.count("Traceback") == 1
    (tick,) = [p for p in agent.snapshot().parts if p.part is Part.LEDGER]
    assert (tick.up, tick.errors_total) == (False, 8)


def test_an_engines_trouble_is_the_engines_alone() -> None:
    clock = StopAfter(4)
    cell: Cell[EngineReply] = Cell()
    cell.put(EngineFailure("a", at(0), "http 401"))
    health = Health()
    agent = loop(clock, Machine(clock), engines=[cell], health=health)
    agent.run()
    parts = {(p.part, p.name): p for p in health.states()}
    assert not parts[Part.ENGINE, "a"].up
    assert parts[Part.LEDGER, "tick"].up


def test_a_page_that_lacks_a_needed_series_is_reported_by_its_name() -> None:
    clock = StopAfter(2)
    cell: Cell[EngineReply] = Cell()
    s = Service()
    s.book("a")
    cell.put(replace(s.sample("a"), missing=("vllm:generation_tokens_total (vLLM 0.6 or newer)",)))
    health = Health()
    loop(clock, Machine(clock), engines=[cell], health=health).run()
    (engine,) = [p for p in health.states() if p.part is Part.ENGINE]
    assert "vllm:generation_tokens_total" in engine.message


def test_a_recorded_run_replays_to_the_last_digit() -> None:
    clock = StopAfter(63)
    machine = Machine(clock)
    cell: Cell[EngineReply] = Cell()
    lines: list[str] = []
    pages = Pages(cell, clock)

    def record(tick: Tick, _: Books) -> None:
        lines.append(encode_tick(tick))

    agent = loop(clock, machine, engines=[cell], record=record)
    pages.put()
    clock.on_wait = pages.put
    clock.advance(1.7)  # until the server listens: the trace knows nothing of this time
    agent.run()
    live = agent.snapshot().ledger
    (last,) = deque(replay(read_trace(lines), POLICY, {}), maxlen=1)
    assert last.books.ledger == live
    assert live.tokens["a", "m", TokenType.GENERATED] > 0


def test_a_trace_tells_of_the_engines_in_the_order_of_the_configuration() -> None:
    """Sums are taken in the order of what is told: in another one, a replay would differ in the last digit."""
    at = FakeClock().now()
    seen = Observed(at, engines=(EngineFailure("b", at, "down"),), cpu_s={"a": 1.0, "b": 2.0}, pids={"c": frozenset()})
    assert [e.engine for e in recorded(seen, ("a", "b", "c", "d")).engines] == ["a", "b", "c"]
    assert [e.engine for e in recorded(seen).engines] == ["b", "a", "c"]


def test_who_kept_spans_for_later_is_told_before_the_last_tick() -> None:
    clock = StopAfter(3)
    calls: list[str] = []

    def spans() -> tuple[RequestSpan, ...]:
        calls.append("spans")
        return ()

    world = World(Machine(clock), spans=spans, end=lambda: calls.append("end"))
    Loop(clock, world, POLICY, Health(), interval_s=1.0).run()
    assert calls[-3:] == ["spans", "end", "spans"]


class Pages:
    """An engine's pages: vLLM's format, read as the live reader does."""

    def __init__(self, cell: Cell[EngineReply], clock: FakeClock) -> None:
        self._cell = cell
        self._clock = clock
        self._count = 0

    def put(self) -> None:
        self._count += 1
        if self._count % 5 == 0:
            page = PAGE.format(prompt=700 * self._count, generated=40 * self._count)
            when = self._clock.now().plus(0.02)
            self._cell.put(read_page(page.encode(), engine="a", at=when, keep_page=True))


def test_what_is_recorded_is_what_was_seen() -> None:
    s = Service()
    s.go_on(1.0, {gpu(0): 5.0})
    s.book("a")
    seen = replace(
        s.tick(replace(s.sample("a"), page="x 1"), s.down("b")),
        cpu_s={"a": 1.5, "c": 2.5},
        pids={"a": frozenset({7, 3})},
    )
    tick = recorded(seen)
    assert tick.readings == seen.readings
    assert [(e.engine, e.page, e.error, e.cpu_s, e.pids) for e in tick.engines] == [
        ("a", "x 1", None, 1.5, (3, 7)),
        ("b", None, "timeout", None, None),
        ("c", None, None, 2.5, None),
    ]


def test_before_the_first_tick_there_is_a_snapshot_with_nothing_in_it() -> None:
    clock = FakeClock()
    shown = loop(clock, Machine(clock)).snapshot()
    assert shown.devices == ()
    assert shown.ledger.energy_j == {}


def test_published_snapshots_do_not_change_afterwards() -> None:
    clock = StopAfter(3)
    agent = loop(clock, Machine(clock))
    agent.tick()
    clock.advance(6.0)
    agent.tick()
    kept = agent.snapshot()
    copy = dict(kept.ledger.device_energy_j)
    clock.advance(6.0)
    agent.tick()
    assert dict(kept.ledger.device_energy_j) == copy
    assert agent.snapshot() is not kept


class Serving(StopAfter):
    """An engine whose page grows by the second, and one span each ten seconds that ended delay_s before it came."""

    def __init__(self, waits: int, cell: Cell[EngineReply], delay_s: float) -> None:
        super().__init__(waits)
        self.cell, self.delay_s = cell, delay_s

    def wait_until(self, mono_s: float) -> bool:
        page = PAGE.format(prompt=10 * mono_s, generated=20 * mono_s)
        self.cell.put(replace(read_page(page.encode(), engine="a", at=self.now()), page=page))
        return super().wait_until(mono_s)

    def spans(self) -> tuple[RequestSpan, ...]:
        now = self.now()
        if now.mono_s < 100 or now.mono_s % 10:
            return ()
        end_s = now.wall_s - self.delay_s
        return (RequestSpan("a", end_s - 2.0, end_s, span_id=str(now), prompt_tokens=20.0, generated_tokens=40.0),)


@pytest.mark.parametrize(("delay_s", "up", "told"), [(2.0, True, ""), (90.0, False, "60 s"), (-5.0, True, "ahead")])
def test_requests_are_told_once_are_recorded_and_the_clock_of_their_spans_is_judged(
    delay_s: float, up: bool, told: str
) -> None:
    cell: Cell[EngineReply] = Cell()
    clock, health = Serving(200, cell, delay_s), Health()
    found: list[RequestEnergy] = []
    ticks: list[Tick] = []
    policy = replace(POLICY, requests=RequestRules())
    world = World(Machine(clock), [cell], spans=clock.spans)
    record: Callable[[Tick, Books], None] = lambda tick, _: ticks.append(tick)  # noqa: E731 - typed
    refused: list[tuple[str, str]] = []
    running = Loop(
        clock, world, policy, health, interval_s=1.0, record=record, attributed=found.extend, refused=refused.extend
    )
    running.run()
    assert refused == []
    sent = [s for t in ticks for s in t.spans]
    assert len(sent) >= 9
    assert sorted(r.span_id for r in found) == sorted(s.span_id for s in sent)
    assert running.recent_requests() == tuple(found)
    assert all(r.energy_j > 0 for r in found)
    (part,) = [p for p in health.states() if p.part is Part.OTLP]
    assert (part.name, part.up) == ("spans of a", up) and told in part.message

    lines = [encode_tick(t) for t in ticks]
    again = [r for s in replay(read_trace(lines), policy, {}) if s.books.requests for r in s.books.requests.done]
    assert [(r.span_id, r.energy_j, r.method) for r in again] == [(r.span_id, r.energy_j, r.method) for r in found]
