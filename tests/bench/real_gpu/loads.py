"""Loads of known kinds on one server, between two readings of the driver's counter."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from agent.ports import Clock
from tests.bench.real_gpu.asked import Asked, Load

BEFORE_S, AFTER_S = 0.4, 0.25  # at rest around a request that runs alone: counters move in steps of up to 100 ms

Tokens = Callable[[random.Random], int]
Counter = Callable[[], float]  # joules


class Client(Protocol):
    def ask(self, load: str, prompt: int, generated: int, spans_url: str = "") -> Asked | None:
        """One request, and its span if there is a spans_url. None: it failed."""
        ...


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks one server, and sends the spans to an agent if there is a spans_url."""

    client: Client
    clock: Clock
    counter_j: Counter
    spans_url: str = ""

    def pause(self, seconds: float) -> None:
        self.clock.wait_until(self.clock.now().mono_s + seconds)

    def closed(self, name: str, workers: int, prompt: int, generated: int, seconds: float) -> Load:
        """Each worker asks the next when it has its answer."""
        until_s = self.clock.now().mono_s + seconds

        def work(gather: _Gather) -> None:
            while self.clock.now().mono_s < until_s:
                gather.add(self.client.ask(name, prompt, generated, self.spans_url))

        def begin(gather: _Gather) -> None:
            for _ in range(workers):
                gather.start(work)

        return self._measured(name, begin)

    def poisson(self, name: str, rate: float, prompt: Tokens, generated: Tokens, seconds: float, seed: int = 3) -> Load:
        """Requests that come by chance, rate of them a second. The same ones for the same seed."""
        rng = random.Random(seed)
        arrivals: list[tuple[float, int, int]] = []
        at_s = rng.expovariate(rate)
        while at_s < seconds:
            arrivals.append((at_s, prompt(rng), generated(rng)))
            at_s += rng.expovariate(rate)
        began_s = self.clock.now().mono_s

        def arrive(gather: _Gather) -> None:
            for at_s, asked, answered in arrivals:
                self.clock.wait_until(began_s + at_s)
                gather.start(
                    lambda g, p=asked, n=answered: g.add(self.client.ask(name, p, n, self.spans_url))  # type: ignore[misc]
                )

        return self._measured(name, arrive)

    def alone(self, name: str, kinds: tuple[tuple[str, int, int], ...], count: int, rest_w: float) -> Load:
        """One request at a time, of these kinds (name, prompt, generated) in turn, at rest before and after each:
        the counter tells what each took above rest."""

        def in_turn(gather: _Gather) -> None:
            for n in range(count):
                kind, prompt, generated = kinds[n % len(kinds)]
                self.pause(BEFORE_S)
                before_s, before_j = self.clock.now().mono_s, self.counter_j()
                asked = self.client.ask(kind, prompt, generated, self.spans_url)
                self.pause(AFTER_S)
                above_j = self.counter_j() - before_j - rest_w * (self.clock.now().mono_s - before_s)
                gather.add(asked and replace(asked, above_rest_j=above_j))

        return self._measured(name, in_turn)

    def _measured(self, name: str, ask: Callable[[_Gather], None]) -> Load:
        gather = _Gather()
        began_s, began_j = self.clock.now().mono_s, self.counter_j()
        ask(gather)
        gather.join()
        joules, seconds = self.counter_j() - began_j, self.clock.now().mono_s - began_s
        return Load(name, seconds, joules, tuple(gather.asked))


class _Gather:
    """The threads of a load, and what they asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._threads: list[threading.Thread] = []

    def start(self, work: Callable[[_Gather], None]) -> None:
        thread = threading.Thread(target=work, args=(self,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def add(self, asked: Asked | None) -> None:
        if asked is not None:
            self.asked.append(asked)

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def lognormal(median: float, sigma: float, least: int, most: int) -> Tokens:
    """Numbers of tokens as users have them: many short ones, few long ones."""
    return lambda rng: int(min(most, rng.lognormvariate(math.log(median), sigma))) + least


def uniform(least: int, most: int) -> Tokens:
    return lambda rng: int(rng.uniform(least, most))
