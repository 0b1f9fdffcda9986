"""The JSON view: one shape, and no number that is none."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from agent.model import EngineState, GridIntensity, Snapshot
from exporters.jsonview import to_json
from tests.conftest import Golden
from tests.fakes.snapshots import LLAMA, START, full_snapshot

BEFORE = full_snapshot(1.0)
AFTER = full_snapshot(2.5, at=START.plus(10.0))


def test_golden_json(golden: Golden) -> None:
    golden.check("snapshot.json", to_json(AFTER, BEFORE))


def test_the_energies_and_what_waits_make_up_the_devices_energy() -> None:
    view = json.loads(to_json(AFTER))
    booked = sum(row["energy_j"] for row in view["energy"]) + sum(view["pending_j"].values())
    assert booked == pytest.approx(sum(d["energy_j"] for d in view["devices"]), rel=1e-9)


def test_a_window_gives_differences() -> None:
    [vllm] = [m for m in json.loads(to_json(AFTER, BEFORE))["models"] if m["model"] == LLAMA]
    assert vllm["tokens"]["generated"] == pytest.approx(1.5 * 12_340)
    assert vllm["requests"] == {"stop": 66.0, "length": 6.0}
    assert vllm["tokens_per_joule"] == pytest.approx(12_340 / 5_430.5)


def test_what_is_not_known_is_null_or_left_out() -> None:
    view = json.loads(to_json(Snapshot(START)))
    assert (view["grid"], view["self_energy_j"], view["window_s"]) == (None, None, None)
    [llama] = [m for m in json.loads(to_json(AFTER))["models"] if m["engine"] == "llama"]
    assert set(llama["tokens"]) == {"generated"}
    assert llama["joules_per_request"] is None


def test_an_open_validity_is_null_not_infinity() -> None:
    text = to_json(replace(AFTER, grid=GridIntensity("DE", 350.0, "table", kind="yearly")))
    assert "Infinity" not in text
    assert json.loads(text)["grid"]["valid_to_s"] is None


def test_a_login_in_an_address_stays_inside() -> None:
    engines = (EngineState("e", url="http://root:hunter2@host:8000/a@b"), EngineState("f", url="http://host:1"))
    view = json.loads(to_json(replace(AFTER, engines=engines)))
    assert [e["url"] for e in view["engines"]] == ["http://host:8000/a@b", "http://host:1"]


def test_a_simulation_says_so() -> None:
    assert json.loads(to_json(AFTER, simulated=True))["simulated"] is True
