"""Loads on a server that takes half a second a request and draws 300 W meanwhile, 100 W at rest."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from tests.bench.real_gpu.asked import Asked
from tests.bench.real_gpu.loads import Asker, lognormal, uniform
from tests.fakes.clock import FakeClock

REST_W, BUSY_W, TAKES_S = 100.0, 300.0, 0.5


@dataclass
class Server:
    """Answers one request at a time; fails: those of so many prompt tokens."""

    clock: FakeClock = field(default_factory=FakeClock)
    fails: int = -1
    busy_s: float = 0.0
    asked: list[tuple[float, int, int]] = field(default_factory=list)  # when, prompt, generated
    spans: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.began_s = self.clock.now().mono_s

    def ask(self, load: str, prompt: int, generated: int, spans_url: str = "") -> Asked | None:
        start = self.clock.now()
        self.asked.append((start.mono_s - self.began_s, prompt, generated))
        self.spans.add(spans_url)
        self.clock.advance(TAKES_S)
        self.busy_s += TAKES_S
        if prompt == self.fails:
            return None
        end_s = start.wall_s + TAKES_S
        return Asked(f"{len(self.asked):032x}", load, start.wall_s, end_s, end_s, prompt, generated, TAKES_S)

    def counter_j(self) -> float:
        return REST_W * (self.clock.now().mono_s - self.began_s) + (BUSY_W - REST_W) * self.busy_s

    def asker(self) -> Asker:
        return Asker(self, self.clock, self.counter_j, "http://agent")


def test_a_worker_asks_the_next_when_it_has_its_answer_until_the_time_is_over() -> None:
    server = Server()
    load = server.asker().closed("decode_1", 1, 8, 256, seconds=1.2)
    assert (load.seconds, load.joules) == pytest.approx((1.5, 450.0))
    assert (len(load.asked), load.prompt, load.generated) == (3, 24, 768)
    assert {a.load for a in load.asked} == {"decode_1"}
    assert server.spans == {"http://agent"}


def test_the_counter_tells_what_a_request_alone_took_above_rest() -> None:
    server = Server()
    load = server.asker().alone("singles", (("long", 100, 1), ("short", 5, 9)), 4, REST_W)
    assert [a.load for a in load.asked] == ["long", "short", "long", "short"]
    assert [a.above_rest_j for a in load.asked] == pytest.approx([(BUSY_W - REST_W) * TAKES_S] * 4)


def test_a_request_that_failed_is_left_out() -> None:
    server = Server(fails=5)
    load = server.asker().alone("singles", (("long", 100, 1), ("short", 5, 9)), 4, REST_W)
    assert [a.load for a in load.asked] == ["long", "long"]
    assert load.joules == pytest.approx(server.counter_j())


def test_the_same_seed_asks_the_same_requests_at_a_rate_that_is_about_the_wanted_one() -> None:
    one, other, third = Server(), Server(), Server()
    for server, seed in ((one, 3), (other, 3), (third, 4)):
        load = server.asker().poisson("mixed_2", 2.0, uniform(10, 90), uniform(1, 9), 60.0, seed)
        assert len(load.asked) == len(server.asked)
    kinds = [[(prompt, generated) for _, prompt, generated in sorted(s.asked)] for s in (one, other, third)]
    assert sorted(kinds[0]) == sorted(kinds[1])
    assert sorted(kinds[0]) != sorted(kinds[2])
    assert 80 < len(kinds[0]) < 160


def test_tokens_stay_within_their_bounds() -> None:
    rng = random.Random(1)
    drawn = [lognormal(100, 0.8, 16, 500)(rng) for _ in range(2000)]
    assert min(drawn) >= 16 and max(drawn) == 516
    assert sorted(drawn)[1000] == pytest.approx(116, rel=0.1)
    assert {uniform(1, 4)(rng) for _ in range(200)} == {1, 2, 3}
