"""The load and its counts, against a server that is a function."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import httpx
import pytest

from agent.demo.load import Load, LoadShape, LoadTotals
from tests.fakes.clock import FakeClock

ANSWER = {
    "usage": {"prompt_tokens": 30, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 10}},
    "timings": {"cache_n": 10, "prompt_n": 20, "predicted_n": 7},
}


class Server:
    """Answers `enough` requests and then says that it has; goes on answering."""

    def __init__(self, answer: Callable[[int], httpx.Response], enough: int = 12) -> None:
        self._answer = answer
        self._enough = enough
        self._lock = threading.Lock()
        self.bodies: list[dict[str, object]] = []
        self.had_enough = threading.Event()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self.bodies.append(json.loads(request.content))
            number = len(self.bodies)
            if number >= self._enough:
                self.had_enough.set()
        return self._answer(number)


def run(server: Server, *, clock: FakeClock | None = None, shape: LoadShape | None = None) -> LoadTotals:
    load = Load(
        "http://127.0.0.1:1",
        clock=clock or FakeClock(),
        shape=shape,
        transport=httpx.MockTransport(server),
    )
    load.start()
    assert server.had_enough.wait(30)
    load.stop()
    return load.totals()


def test_totals_are_the_sums_of_what_the_server_said() -> None:
    server = Server(lambda _: httpx.Response(200, json=ANSWER))
    totals = run(server)
    n = len(server.bodies)
    assert totals == LoadTotals(requests=n, prompt_computed=20 * n, prompt_cached=10 * n, generated=7 * n)
    assert totals.prompt == 30 * n


def test_a_server_without_timings_is_counted_by_its_usage() -> None:
    totals = run(Server(lambda _: httpx.Response(200, json={"usage": ANSWER["usage"]})))
    assert (totals.prompt_computed, totals.prompt_cached) == (20 * totals.requests, 10 * totals.requests)


@pytest.mark.parametrize(
    "details", [{}, {"prompt_tokens_details": None}, {"prompt_tokens_details": {"cached_tokens": None}}]
)
def test_a_server_that_does_not_tell_cached_tokens_has_computed_all(details: dict[str, object]) -> None:
    usage = {"prompt_tokens": 30, "completion_tokens": 7, **details}
    totals = run(Server(lambda _: httpx.Response(200, json={"usage": usage})))
    assert totals.errors == 0
    assert (totals.prompt_computed, totals.prompt_cached) == (30 * totals.requests, 0)


@pytest.mark.parametrize(
    "bad",
    [
        httpx.Response(503, json={"error": "loading"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json={"no": "usage"}),
        httpx.Response(200, json=["no object"]),
    ],
    ids=["503", "html", "no usage", "list"],
)
def test_a_bad_answer_is_an_error_and_the_load_goes_on(bad: httpx.Response) -> None:
    server = Server(lambda number: bad if number % 3 == 0 else httpx.Response(200, json=ANSWER))
    totals = run(server)
    assert totals.errors == len(server.bodies) // 3
    assert totals.requests + totals.errors == len(server.bodies)


def test_a_server_that_is_not_there_is_an_error() -> None:
    def refuse(_: int) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    totals = run(Server(refuse))
    assert totals.errors >= 12
    assert totals.requests == 0


def test_requests_differ_in_length_and_share_openings() -> None:
    server = Server(lambda _: httpx.Response(200, json=ANSWER), enough=60)
    run(server)
    prompts = [str(body["prompt"]).split() for body in server.bodies]
    assert len({len(prompt) for prompt in prompts}) > 10
    assert len({body["max_tokens"] for body in server.bodies}) > 10
    openings = [tuple(prompt[:4]) for prompt in prompts]
    assert len(set(openings)) < len(openings) / 2
    assert all(isinstance(n := body["max_tokens"], int) and 16 <= n <= 160 for body in server.bodies)


def test_busy_and_quiet_times_take_turns() -> None:
    clock = FakeClock(mono_s=0.0)
    at: list[float] = []

    def answer(_: int) -> httpx.Response:
        at.append(clock.now().mono_s)
        return httpx.Response(200, json=ANSWER)

    run(Server(answer, enough=300), clock=clock, shape=LoadShape(busy_s=10.0, quiet_s=5.0, workers=1))
    assert max(at) > 30.0, "several rounds"
    assert all(moment % 15.0 < 10.5 for moment in at)


def test_the_load_ends_when_the_clock_is_stopped() -> None:
    clock = FakeClock(mono_s=0.0)
    server = Server(lambda _: httpx.Response(200, json=ANSWER), enough=3)
    load = Load("http://127.0.0.1:1", clock=clock, transport=httpx.MockTransport(server))
    load.start()
    assert server.had_enough.wait(30)
    clock.stop()
    load.join()
    assert load.totals().requests == len(server.bodies)
