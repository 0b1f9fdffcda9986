"""Totals of the ledger, summed over the uses of each model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from agent.model import Snapshot, Use
from exporters.family import Row, Rows


def by_model(total: str) -> Rows:
    """A total of the ledger, over all uses."""

    def rows(s: Snapshot) -> Iterator[Row]:
        yield from over_uses(getattr(s.ledger, total)).items()

    return rows


def over_uses(amounts: Mapping[tuple[str, str, Use], float]) -> dict[tuple[str, str], float]:
    out: dict[tuple[str, str], float] = defaultdict(float)
    for (engine, model, _use), amount in amounts.items():
        out[engine, model] += amount
    return out
