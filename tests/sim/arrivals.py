"""When requests come and how long they are: by chance, or as Azure recorded them."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

AZURE = Path(__file__).parents[1] / "data" / "azure_llm_trace" / "conversations.csv"
BLOCK = 16  # prompt tokens are cached in whole blocks, and never the last one of a prompt


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request. prompt includes cached."""

    at_s: float
    prompt: int
    cached: int
    generate: int


@dataclass(frozen=True, slots=True)
class Shape:
    """Medians of log-normal lengths, and how much of a prompt is in the prefix cache, in the mean."""

    prompt: float = 700.0
    generate: float = 160.0
    spread: float = 0.7
    cached: float = 0.0

    @property
    def means(self) -> tuple[float, float]:
        """Prompt and generated tokens of a request."""
        return self.prompt * math.exp(self.spread**2 / 2), self.generate * math.exp(self.spread**2 / 2)


CHAT = Shape()
DOCUMENTS = Shape(prompt=4000, generate=60)
AGENTS = Shape(prompt=2500, generate=150, cached=0.6)


def poisson(
    rate: float, seconds: float, rng: random.Random, shape: Shape = CHAT, start_s: float = 0.0
) -> list[Arrival]:
    """Requests at `rate` a second, independent of each other."""
    out = []
    at_s = start_s
    while (at_s := at_s + rng.expovariate(rate)) < start_s + seconds:
        prompt = min(16_000, max(8, round(shape.prompt * rng.lognormvariate(0, shape.spread))))
        generate = min(4000, max(1, round(shape.generate * rng.lognormvariate(0, shape.spread))))
        cached = int(prompt * min(1.0, 2 * shape.cached * rng.random())) if shape.cached else 0
        out.append(Arrival(at_s, prompt, _whole(cached, prompt), generate))
    return out


def changing(seconds: float, rng: random.Random) -> list[Arrival]:
    """Chats, documents and agents by turns, few and many: nine parts of the time."""
    parts = [
        (0.3, CHAT),
        (3.0, CHAT),
        (1.0, DOCUMENTS),
        (0.2, CHAT),
        (3.0, DOCUMENTS),
        (2.0, CHAT),
        (0.2, DOCUMENTS),
        (5.0, AGENTS),
        (0.5, CHAT),
    ]
    part_s = seconds / len(parts)
    return [a for k, (rate, shape) in enumerate(parts) for a in poisson(rate, part_s, rng, shape, k * part_s)]


def azure(rate: float, seconds: float) -> list[Arrival]:
    """The recorded conversations in their recorded rhythm, faster or slower so that they come at `rate`; over and
    over until the time is up."""
    rows = _azure()
    recorded = len(rows) / rows[-1][0]
    out: list[Arrival] = []
    for at_s, prompt, generate in _again(rows):
        when = at_s * recorded / rate
        if when >= seconds:
            return out
        out.append(Arrival(when, prompt, 0, generate))
    raise AssertionError("rows come again for ever")


def _again(rows: tuple[tuple[float, int, int], ...]) -> Iterator[tuple[float, int, int]]:
    lap_s = rows[-1][0] + 0.2
    lap = 0
    while True:
        for at_s, prompt, generate in rows:
            yield lap * lap_s + at_s, prompt, generate
        lap += 1


@lru_cache(maxsize=1)
def _azure() -> tuple[tuple[float, int, int], ...]:
    with AZURE.open(newline="") as f:
        rows = [
            (datetime.fromisoformat(r["TIMESTAMP"]), int(r["ContextTokens"]), int(r["GeneratedTokens"]))
            for r in csv.DictReader(f)
        ]
    began = rows[0][0]
    return tuple(((at - began).total_seconds(), max(1, p), max(1, g)) for at, p, g in rows)


def _whole(cached: int, prompt: int) -> int:
    return min(cached, prompt - 1) // BLOCK * BLOCK
