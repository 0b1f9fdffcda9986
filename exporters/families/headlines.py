"""Ratios over windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter

from agent.model import Headline, Snapshot
from exporters.family import ENGINE_MODEL, Family, Row, Rows, Theme


def headline(field: str) -> Rows:
    """One ratio of every headline."""
    ratio: Callable[[Headline], float | None] = attrgetter(field)

    def rows(s: Snapshot) -> Iterator[Row]:
        for h in s.headlines:
            yield (h.engine, h.model, h.window, h.boundary), ratio(h)

    return rows


def headline_by_tokens(generated: str, everything: str) -> Rows:
    """A ratio that is told per generated token and per token of any type."""
    ratios: tuple[tuple[str, Callable[[Headline], float | None]], ...] = (
        ("generated", attrgetter(generated)),
        ("all", attrgetter(everything)),
    )

    def rows(s: Snapshot) -> Iterator[Row]:
        for h in s.headlines:
            for name, ratio in ratios:
                yield (h.engine, h.model, h.window, name, h.boundary), ratio(h)

    return rows


HEADLINES = Theme(
    "Headline ratios",
    (
        Family(
            "joulecar_tokens_per_joule",
            "gauge",
            "tokens per joule",
            (*ENGINE_MODEL, "window", "tokens", "boundary"),
            "Tokens for each joule, over a window.",
            headline_by_tokens("generated_per_joule", "all_per_joule"),
            "A ratio of differences of the counters above. Absent where no token came in the window.",
        ),
        Family(
            "joulecar_joules_per_request",
            "gauge",
            "joules per request",
            (*ENGINE_MODEL, "window", "boundary"),
            "Energy for each request that ended, over a window.",
            headline("joules_per_request"),
            "Absent where no request ended in the window.",
        ),
        Family(
            "joulecar_gco2e_per_1k_tokens",
            "gauge",
            "gCO2e per 1,000 tokens",
            (*ENGINE_MODEL, "window", "tokens", "boundary"),
            "Grams of CO2 equivalent for 1,000 tokens, over a window.",
            headline_by_tokens("gco2e_per_1k_generated", "gco2e_per_1k_all"),
            "Absent where no token came in the window, and where no grid intensity is known.",
        ),
    ),
)
