"""What is remembered comes back as it was, and nothing else is taken for it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest

from agent import books
from agent.accounts import Rules, Settlement
from agent.books import Policy
from agent.codec import Codecs, MisfitError
from agent.energy import MeterState
from agent.model import Device, DeviceKind, Instant, Use
from agent.work import WorkState
from tests.fakes.service import CPU, Service, gpu


class Point(NamedTuple):
    at: Instant
    value: float


@dataclass(frozen=True)
class Thing:
    name: str
    points: tuple[Point, ...]
    by_device: Mapping[Device, float]
    groups: Mapping[frozenset[str], float | None]
    use: Use = Use.IDLE
    pair: tuple[str, int] = ("", 0)


THING = Thing(
    "a",
    (Point(Instant(1.0, 2.0), 0.1), Point(Instant(1.5, 2.5), 1e-300)),
    {Device(DeviceKind.GPU, "GPU-1"): 1 / 3},
    {frozenset({"b", "a"}): None, frozenset(): 2.0},
    Use.DECODE,
    ("x", 3),
)


def test_a_value_comes_back_to_the_last_bit() -> None:
    codecs = Codecs()
    assert codecs.loads(codecs.dumps(THING, Thing), Thing) == THING


@dataclass(frozen=True)
class Alone:
    points: tuple[Point, ...]


def test_what_is_written_is_what_earlier_versions_read() -> None:
    codecs = Codecs()
    text = '["a",[[[1.0,2.0],0.1],[[1.5,2.5],1e-300]],[[["gpu","GPU-1"],0.25]],[[["a","b"],null]],"decode",["x",3]]'
    thing = replace(THING, by_device={Device(DeviceKind.GPU, "GPU-1"): 0.25}, groups={frozenset({"b", "a"}): None})
    assert codecs.dumps(thing, Thing) == text
    assert codecs.dumps(Alone(THING.points[:1]), Alone) == "[[[[1.0,2.0],0.1]]]"
    assert codecs.dumps({"a": None, "b": 0.5}, Mapping[str, float | None]) == '[["a",null],["b",0.5]]'


def test_the_books_of_a_run_come_back_and_go_on_alike() -> None:
    service = Service()
    policy = Policy(rules=Rules(engines={"a": None}))
    state = books.begin(service.tick().at, policy)
    for second in range(12):
        service.go_on(1.0, {gpu(0): 300.0, gpu(1): 80.0, CPU: 50.0})
        service.running["a"] = 1.0
        service.book("a", generated=10, computed=100 if second % 5 == 0 else 0)
        state = books.tick(state, service.tick(*([service.sample("a")] if second % 3 == 0 else [])), policy)
    codecs = Codecs()
    for value, kind in (
        (state.settlement, Settlement),
        (state.meters, Mapping[Device, MeterState]),
        (state.works, Mapping[str, WorkState]),
    ):
        assert codecs.loads(codecs.dumps(value, kind), kind) == value


def test_a_record_of_an_older_version_takes_defaults_for_what_it_lacks() -> None:
    codecs = Codecs()
    older = json.dumps(json.loads(codecs.dumps(THING, Thing))[:4])
    assert codecs.loads(older, Thing).use is Use.IDLE


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:1],
        lambda d: [*d, "more"],
        lambda d: [1, *d[1:]],
        lambda d: [d[0], [[[1.0, "2"], 0.1]], *d[2:]],
        lambda d: [*d[:4], "no use"],
        lambda d: {"name": "a"},
        lambda d: None,
        lambda d: [d[0], [[[1.0, 2.0], math.nan]], *d[2:]],
        lambda d: [d[0], [[[1.0, 2.0], math.inf]], *d[2:]],
        lambda d: [d[0], [[[1.0, 2.0], 10**400]], *d[2:]],
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(damage: object) -> None:
    codecs = Codecs()
    data = json.loads(codecs.dumps(THING, Thing))
    with pytest.raises(MisfitError, match=r"is no|lacks"):
        codecs.loads(json.dumps(damage(data)), Thing)  # type: ignore[operator]  # one of the above


def test_a_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(MisfitError, match="not JSON"):
        Codecs().loads("{", Thing)
