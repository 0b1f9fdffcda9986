"""Which part of a window is a request's. No window ever gives more than it has.

Each request weighs what it took part in (agent/request_pace.py) at the prices that were learned, as far as these are
trusted; for the rest at what the books booked for a token so far, where decode's joules flow evenly over the time in
which tokens came, since the power of a busy GPU hardly depends on how many requests it serves:

    joules of a request = confidence * window's joules * its price / price of all
                        + (1 - confidence) * window's joules * its mean price / mean price of all
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.done import Done
from agent.learn import Price
from agent.request_pace import Part


@dataclass(frozen=True, slots=True)
class Window:
    """One model over [start_s, end_s), Unix seconds."""

    start_s: float
    end_s: float
    prefill_j: float
    decode_j: float
    done: Done = field(default_factory=Done)  # what the counters told
    g_per_j: float | None = None  # gCO2e of a joule; None: no intensity is known
    left_j: float = 0.0  # not given to any request yet
    steps: float | None = None  # of the engine; None: it does not count them
    crowded: bool | None = None  # did several requests run that teach prices? None: not looked at yet
    shared: bool = False  # among the spans that were there

    @property
    def energy_j(self) -> float:
        return self.prefill_j + self.decode_j

    @property
    def tokens(self) -> float:
        """That cost energy."""
        return self.done.prompt + self.done.generated

    @property
    def computed_part(self) -> float:
        """Of all prompt tokens."""
        prompts = self.done.prompt + self.done.cached
        return self.done.prompt / prompts if prompts > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Means:
    """Joules of a token as the books booked them to the model so far."""

    prompt_j: float
    generated_j: float


@dataclass(frozen=True, slots=True)
class Says:
    """Prices that the books learned, and how far to trust them. learning: False, where the configuration says what a
    prompt token weighs and nothing else is to."""

    price: Price | None = None
    confidence: float = 0.0
    learning: bool = True


def shared(
    window: Window, parts: Sequence[Part], prompt: float, generated: float, says: Says, means: Means
) -> list[tuple[float, float]]:
    """Prefill and decode joules of each part, beside so many prompt and generated tokens that are no part's. They are
    never more in all than the window has."""
    c = says.confidence if says.price is not None else 0.0
    found = [(0.0, 0.0)] * len(parts)
    if says.price is not None and c > 0:
        priced = _by_price(window, says.price, parts, prompt, generated, means)
        found = [(c * p, c * d) for p, d in priced]
    if c < 1:
        plain = _by_tokens_and_time(window, parts, prompt, generated, means)
        found = [(a + (1 - c) * p, b + (1 - c) * d) for (a, b), (p, d) in zip(found, plain, strict=True)]
    return _no_more(window, found)


def _by_price(
    window: Window, price: Price, parts: Sequence[Part], prompt: float, generated: float, means: Means
) -> list[tuple[float, float]]:
    costs = [
        (
            price.prompt_j * p.prompt + price.step_j * p.prefill_steps,
            price.decode_j * p.decoded + price.step_j * p.steps + price.context_j * p.context,
        )
        for p in parts
    ]
    total_j = math.fsum(j for both in costs for j in both)
    if prompt > 0 or generated > 0:
        # The steps that are left are the others': of each token one at most.
        steps = window.done.steps - math.fsum(p.steps + p.prefill_steps for p in parts)
        context = window.done.context / window.done.decoded if window.done.decoded > 0 else 0.0
        total_j += price.prompt_j * prompt + (price.decode_j + price.context_j * context) * generated
        total_j += price.step_j * min(max(0.0, steps), generated + (1.0 if prompt > 0 else 0.0))
    if total_j <= 0:
        return _by_tokens_and_time(window, parts, prompt, generated, means)
    return [(window.energy_j * p / total_j, window.energy_j * d / total_j) for p, d in costs]


def _by_tokens_and_time(
    window: Window, parts: Sequence[Part], prompt: float, generated: float, means: Means
) -> list[tuple[float, float]]:
    """At the mean joules of a prompt token and of a generated one; what decoding took by the time that each shared."""
    known = math.fsum(p.told_generated for p in parts)
    seconds = math.fsum(p.seconds for p in parts)
    decode_j = means.generated_j * known
    costs = [
        (
            means.prompt_j * p.prompt,
            decode_j * p.seconds / seconds if seconds > 0 else means.generated_j * p.told_generated,
        )
        for p in parts
    ]
    total_j = math.fsum(j for both in costs for j in both) + means.prompt_j * prompt + means.generated_j * generated
    if total_j <= 0:
        return [(0.0, 0.0)] * len(parts)
    return [(window.energy_j * p / total_j, window.energy_j * d / total_j) for p, d in costs]


def _no_more(window: Window, parts_j: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Scaled down to what the window has."""
    total_j = math.fsum(j for both in parts_j for j in both)
    if total_j <= window.left_j:
        return parts_j
    return [(p * (window.left_j / total_j), d * (window.left_j / total_j)) for p, d in parts_j]
