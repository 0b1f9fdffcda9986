"""`joulecar replay`: a recorded trace through the same pipeline."""

from __future__ import annotations

import shutil
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from agent.app import policy
from agent.clock import SystemClock
from agent.errors import JoulecarError
from agent.grids.table import choose
from agent.model import EnergyPrice, GridIntensity, Instant, Snapshot
from agent.ports import Clock
from agent.prices.table import constant
from agent.replay import Replayed, replay
from agent.settings import Settings
from agent.trace import Tick, open_trace, read_trace

PROGRESS_S = 2.0


def main(trace: Path, settings: Settings, *, form: str) -> int:
    """Print the state after the trace's end. 1: the trace cannot be read; says which line and why."""
    last = final(trace, settings, SystemClock())
    print(shown(last.snapshot(), form), end="")  # noqa: T201 - this command's output
    return 0


def final(trace: Path, settings: Settings, clock: Clock) -> Replayed:
    """The state after the end of the trace.

    Raises JoulecarError: no such file, nothing in it, or TraceError with the line that cannot be read.
    """
    engines = {e.name: e for e in settings.engines}
    try:
        with open_trace(trace) as lines:
            ticks = _told(read_trace(lines), clock)
            last = deque(replay(ticks, policy(settings), engines, _grid(settings), _prices(settings)), maxlen=1)
    except OSError as e:
        raise JoulecarError(f"{trace}: {e.strerror or e}") from e
    if not last:
        raise JoulecarError(f"{trace}: no ticks in it")
    return last[0]


def _grid(settings: Settings) -> tuple[GridIntensity, ...]:
    provider = choose(settings.grid)
    return tuple(provider.fetch(settings.grid.zone or "", Instant(0.0, 0.0))) if provider else ()


def _prices(settings: Settings) -> tuple[EnergyPrice, ...]:
    fixed = constant(settings.site.price)
    return () if fixed is None else (fixed,)


def _told(ticks: Iterator[Tick], clock: Clock) -> Iterator[Tick]:
    """Progress on stderr for what takes longer than two seconds."""
    began_s = told_s = clock.now().mono_s
    first: float | None = None
    for count, tick in enumerate(ticks, 1):
        first = tick.at.mono_s if first is None else first
        yield tick
        if count % 500 == 0 and sys.stderr.isatty() and clock.now().mono_s - told_s > PROGRESS_S:
            told_s = clock.now().mono_s
            hours = (tick.at.mono_s - first) / 3600
            print(f"\r{count} ticks, {hours:.1f} h in {told_s - began_s:.0f} s", end="", file=sys.stderr)  # noqa: T201
    if told_s > began_s:
        print(file=sys.stderr)  # noqa: T201


def shown(snapshot: Snapshot, form: str) -> str:
    """The snapshot as a scrape, as JSON or as a table."""
    if form == "prometheus":
        from exporters.prometheus import Exposition  # noqa: PLC0415

        return Exposition(_Fixed(snapshot), process=False).render()[0].decode()
    if form == "json":
        from exporters.jsonview import to_json  # noqa: PLC0415

        return to_json(snapshot) + "\n"
    from exporters.terminal import render  # noqa: PLC0415

    return render(snapshot, None, colour=sys.stdout.isatty(), width=shutil.get_terminal_size().columns)


class _Fixed:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        return self._snapshot
