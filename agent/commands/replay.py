"""`joulecar replay`: a recorded trace through the same pipeline."""

from __future__ import annotations

import json
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from agent.app import policy, request_rules
from agent.books import Policy
from agent.clock import SystemClock
from agent.errors import JoulecarError, TraceCutError
from agent.grids.table import choose
from agent.model import EnergyPrice, GridIntensity, Instant, Ledger, RequestEnergy, Snapshot
from agent.opening import Opening
from agent.ports import Clock
from agent.prices.table import constant
from agent.recording import RecordedFile, in_order, one_trace
from agent.replay import Replayed, replay
from agent.settings import Settings
from agent.trace import Tick

PROGRESS_S = 2.0
KEPT = frozenset(  # of a request in the file of --requests
    (
        *("request_id", "trace_id", "engine", "model", "energy_j", "prefill_j", "decode_j", "gco2e", "method"),
        *("low_j", "high_j", "group"),
    )
)


Alter = Callable[[Policy], Policy]


def main(
    traces: Sequence[Path], settings: Settings, *, form: str, requests: Path | None = None, as_recorded: bool = False
) -> int:
    """Print the state after the end of the trace, which may be several files. requests: where the energy of each
    request is written, one JSON object a line. as_recorded: what the trace says of its configuration goes before the
    settings.

    Raises JoulecarError: the trace cannot be read; says which line and why."""
    if requests is None:
        last = final(traces, settings, SystemClock(), as_recorded=as_recorded)
    else:
        try:
            with requests.open("w", encoding="utf-8") as out:
                last = final(traces, settings, SystemClock(), found=_writer(out), as_recorded=as_recorded)
        except OSError as e:
            raise JoulecarError(f"{requests}: {e.strerror or e}") from e
    print(shown(last.snapshot(), form), end="")  # noqa: T201 - this command's output
    return 0


def _writer(out: IO[str]) -> Callable[[RequestEnergy], None]:
    from exporters.requests_json import as_object  # noqa: PLC0415

    def write(found: RequestEnergy) -> None:
        line = {key: value for key, value in as_object(found).items() if key in KEPT}
        out.write(json.dumps(line, allow_nan=False) + "\n")

    return write


def final(
    traces: Sequence[Path],
    settings: Settings,
    clock: Clock,
    *,
    as_recorded: bool = False,
    found: Callable[[RequestEnergy], None] | None = None,
    alter: Alter = lambda policy: policy,
    from_zero: bool = False,
) -> Replayed:
    """The state after the end of the trace, whose files are given in any order. found: is told every request whose
    energy is known. alter: the policy in the place of the trace's or the configured one. from_zero: totals are of the
    trace's own time.

    A trace that is cut off, as that of an agent which was killed, ends there; it is told on stderr.

    Raises JoulecarError: no such file, nothing in it, the line that cannot be read, files that do not follow each
    other.
    """
    files = in_order(traces, _cut)
    opening = _opening(files[0])
    if from_zero and opening.books is not None:
        opening = replace(opening, books=replace(opening.books, ledger=Ledger()))
    ticks = _told(one_trace(files), clock)
    states = _states(ticks, opening, settings, alter, as_recorded=as_recorded)
    return deque(states if found is None else _telling(states, found), maxlen=1)[0]


def _cut(trace: Path, error: TraceCutError) -> None:
    print(f"joulecar: {trace}: {error}; what is before it is replayed", file=sys.stderr)  # noqa: T201


def _opening(file: RecordedFile) -> Opening:
    opening = file.opening
    for problem in opening.problems:
        written = f"written by version {opening.version or 'unknown'}"
        print(f"joulecar: {file.path}: {problem}; {written}, so this is left out", file=sys.stderr)  # noqa: T201
    return opening


def _states(
    ticks: Iterator[Tick], opening: Opening, settings: Settings, alter: Alter, *, as_recorded: bool
) -> Iterator[Replayed]:
    if as_recorded and opening.policy is not None:
        return replay(ticks, alter(opening.policy), opening.engines, opened=opening.books)
    engines = {e.name: e for e in settings.engines}
    rules = alter(_policy(settings, opening.policy))
    return replay(ticks, rules, engines, _grid(settings), _prices(settings), opened=opening.books)


def _policy(settings: Settings, recorded: Policy | None) -> Policy:
    """As configured; where the configuration receives no spans, those in the trace are attributed as by its own, or
    by default if it does not say that it has none."""
    rules = policy(settings)
    if rules.requests is not None:
        return rules
    return replace(rules, requests=request_rules(settings) if recorded is None else recorded.requests)


def _telling(states: Iterator[Replayed], found: Callable[[RequestEnergy], None]) -> Iterator[Replayed]:
    for state in states:
        for request in state.books.requests.done if state.books.requests is not None else ():
            found(request)
        yield state


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
