"""`joulecar replay --compare weights=0.12,weights=auto`: what each policy says of the same trace, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent.commands.replay import Alter, final
from agent.errors import JoulecarError
from agent.model import Snapshot, Use
from agent.ports import Clock
from agent.settings import Settings

FIX = "write --compare weights=0.12,weights=auto"


def policies(text: str) -> list[tuple[str, Alter]]:
    """What makes each policy of the trace's, under its name. Raises JoulecarError: not a policy, and how one is
    written."""
    out = []
    for part in text.split(","):
        key, _, value = part.strip().partition("=")
        if key != "weights":
            raise JoulecarError(f"--compare: {part.strip()!r} is no policy; {FIX}")
        out.append((f"weights={value}", _weighing(_weight(value))))
    return out


def _weight(value: str) -> float | None:
    if value == "auto":
        return None
    try:
        weight = float(value)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= 10:
        raise JoulecarError(f"--compare: weights={value} is neither auto nor a number from 0 to 10; {FIX}")
    return weight


def _weighing(weight: float | None) -> Alter:
    return lambda policy: replace(policy, rules=replace(policy.rules, prefill_weight=weight))


def compare(traces: Sequence[Path], text: str, settings: Settings, clock: Clock, *, as_recorded: bool = False) -> str:
    """A table: joules by engine, model and use that were booked in the time of the trace, one column a policy, and the
    weights at the end. as_recorded: what the trace says of its configuration goes before the settings.

    Raises JoulecarError: what cannot be read, or is no policy.
    """
    return table(
        [
            (name, final(traces, settings, clock, as_recorded=as_recorded, alter=to, from_zero=True).snapshot())
            for name, to in policies(text)
        ]
    )


def table(said: Sequence[tuple[str, Snapshot]]) -> str:
    rows: dict[str, list[str]] = {}

    def put(row: str, column: int, value: str) -> None:
        rows.setdefault(row, ["-"] * len(said))[column] = value

    for column, (_, snapshot) in enumerate(said):
        energy: dict[tuple[str, str, Use], float] = {}
        for (engine, model, use, _kind), joules in sorted(snapshot.ledger.energy_j.items()):
            energy[engine, model, use] = energy.get((engine, model, use), 0.0) + joules
        for (engine, model, use), joules in energy.items():
            put(" ".join(part for part in (engine, model, use.value) if part), column, f"{joules:,.1f}")
    for column, (_, snapshot) in enumerate(said):
        put("sum", column, f"{sum(snapshot.ledger.energy_j.values()):,.1f}")
        for e in snapshot.engines:
            put(f"{e.engine} prefill weight", column, "-" if e.prefill_weight is None else f"{e.prefill_weight:.4f}")
            if e.weight_confidence is not None:
                put(f"{e.engine} confidence", column, f"{e.weight_confidence:.2f}")
    width = max(len(row) for row in (*rows, "JOULES"))
    lines = [f"{'JOULES':<{width}}" + "".join(f"{name:>18}" for name, _ in said)]
    lines += [f"{row:<{width}}" + "".join(f"{value:>18}" for value in values) for row, values in rows.items()]
    return "\n".join(lines) + "\n"
