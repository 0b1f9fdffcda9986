"""Intensities that a trace tells, and whole traces whose truth is known."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.accounts import Rules
from agent.books import Policy
from agent.model import DeviceKind, GridIntensity, Snapshot
from agent.replay import replay
from agent.trace import read_trace

WALL_S = 1_790_000_000.0


def intensity(zone: str, g: float, begin: float | None = None, end: float | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {"zone": zone, "g_per_kwh": g}
    if begin is not None:
        told["valid_from_s"] = WALL_S + begin
    if end is not None:
        told["valid_to_s"] = WALL_S + end
    return told


def grams(told: dict[int, list[dict[str, Any]]], grid: tuple[GridIntensity, ...] = ()) -> tuple[float, str]:
    """Of 100 s at 360 W, where ticks tell intensities; and the zone in force at the end."""
    lines = []
    for t in range(101):
        reading = {"device": "package-0", "kind": "cpu", "energy_j": 360.0 * t, "power_w": 360.0}
        tick: dict[str, Any] = {
            "mono_s": float(t),
            "wall_s": WALL_S + t,
            "readings": [reading],
            "grid": told.get(t, []),
        }
        lines.append(json.dumps(tick))
    snapshot = last(lines, grid)
    return sum(snapshot.ledger.it_gco2e.values()), snapshot.grid.zone if snapshot.grid else ""


def last(lines: list[str], grid: tuple[GridIntensity, ...] = ()) -> Snapshot:
    *_, end = replay(read_trace(lines), Policy(rules=Rules()), {}, grid)
    return end.snapshot()


def test_an_intensity_without_a_beginning_holds_from_the_tick_that_tells_it() -> None:
    up_and_down = {0: [intensity("DE", 300)], 40: [intensity("DE", 500)], 70: [intensity("DE", 300)]}
    assert grams(up_and_down)[0] == pytest.approx((70 * 300 + 30 * 500) / 1e4)


def test_a_tick_that_repeats_what_is_known_changes_nothing() -> None:
    every_tick = {t: [intensity("DE", 300, 0, 50), intensity("DE", 100, 50, 200)] for t in range(101)}
    assert grams(every_tick)[0] == pytest.approx((50 * 300 + 50 * 100) / 1e4)


def test_what_is_told_later_of_the_same_hour_replaces_the_forecast() -> None:
    assert grams({0: [intensity("DE", 900, 0, 200)], 3: [intensity("DE", 300, 0, 200)]})[0] == pytest.approx(3.0)


def test_another_zone_holds_from_the_moment_it_is_told() -> None:
    moved = {0: [intensity("DE", 500, 0, 200)], 60: [intensity("FR", 50, 0, 200)]}
    total, zone = grams(moved)
    assert total == pytest.approx((60 * 500 + 40 * 50) / 1e4)
    assert zone == "FR"
    back = {**moved, 80: [intensity("DE", 500, 0, 200)]}
    total, zone = grams(back)
    assert total == pytest.approx((80 * 500 + 20 * 50) / 1e4)
    assert zone == "DE"


def test_a_yearly_value_told_beside_an_hour_does_not_take_its_place() -> None:
    hour = intensity("DE", 300, 0, 60)
    assert grams({0: [hour], 30: [hour, intensity("DE", 400)]})[0] == pytest.approx((60 * 300 + 40 * 400) / 1e4)


def test_time_that_the_trace_tells_nothing_of_is_priced_as_configured() -> None:
    yearly = (GridIntensity("DE", 400.0, "table", kind="yearly"),)
    assert grams({0: [intensity("DE", 100, 20, 60)]}, yearly)[0] == pytest.approx((40 * 100 + 60 * 400) / 1e4)
    assert grams({0: [intensity("DE", 100)]}, yearly)[0] == pytest.approx(1.0)
    assert grams({}, yearly)[0] == pytest.approx(4.0)


@pytest.mark.parametrize(("first_page", "nobodys"), [(30, 0.0), (100, 10_000.0)])
def test_an_engine_of_the_first_minute_had_its_gpu_all_along(first_page: int, nobodys: float) -> None:
    """The agent that recorded the trace knew its engines before they answered."""
    page = 'vllm:num_requests_running{model_name="m"} 0\nvllm:generation_tokens_total{model_name="m"} 7\n'
    page = page.replace("vllm:gen", "# TYPE vllm:generation_tokens_total counter\nvllm:gen")
    lines = []
    for t in range(121):
        reading = {"device": "GPU-0", "kind": "gpu", "energy_j": 100.0 * t, "power_w": 100.0}
        engines = [{"engine": "v", "page": page}] if t >= first_page and t % 5 == 0 else []
        lines.append(json.dumps({"mono_s": t, "wall_s": WALL_S + t, "readings": [reading], "engines": engines}))
    snapshot = last(lines)
    unassigned = sum(j for (engine, _, _, _), j in snapshot.ledger.energy_j.items() if not engine)
    assert unassigned == pytest.approx(nobodys, abs=500)
    assert sum(snapshot.ledger.energy_j.values()) == pytest.approx(12_000)
    assert snapshot.pending_j == {DeviceKind.GPU: 0.0}  # known to be nothing, which is not the same as unknown
