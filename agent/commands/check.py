"""`joulecar check`: what was found, what was not, why, and the fix."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agent.app import NO_ZONE_FIX, live_provider, required, sources
from agent.clock import SystemClock
from agent.commands.process import logs
from agent.config_advice import advice
from agent.engines.scrape import HttpEngineReader
from agent.errors import ReadFailed, Unavailable
from agent.grids.table import choose, live
from agent.model import DeviceKind, EngineFailure
from agent.ports import Clock, Finding, GridProvider, Lacking
from agent.sensors import NODE_KINDS
from agent.settings import EngineSettings, Settings


@dataclass(frozen=True, slots=True)
class Found:
    """One line of the report. fault: the agent is degraded by it; otherwise it is only good to know."""

    part: str
    subject: str
    ok: bool
    detail: str
    fix: str = ""
    fault: bool = False


NO_ENGINE = Found(
    "engine",
    "none",
    False,
    "no serving engine configured: energy is measured, tokens are not",
    "--engine http://127.0.0.1:8000, or [[engine]] in the configuration",
    fault=True,
)


def main(settings: Settings) -> int:
    """Print the report. 0: all well; 1: degraded."""
    logs("error")
    found = findings(settings, SystemClock())
    for line in lines(found, colour=sys.stdout.isatty()):
        print(line)  # noqa: T201 - this command's output
    faults = sum(f.fault for f in found)
    print("\nall well" if not faults else f"\n{faults} to mend")  # noqa: T201
    return 1 if faults else 0


def findings(settings: Settings, clock: Clock, *, ask_engines: bool = True) -> list[Found]:
    """Everything that can be known without measuring. ask_engines: scrape each engine once; else only name it."""
    engines = _engines(settings, clock) if ask_engines else _named(settings)
    said = [Found("config", "advice", False, text) for text in advice(settings)]
    return [*_sources(settings, clock), *engines, *_grid(settings, clock, ask=ask_engines), *said]


def _named(settings: Settings) -> Iterator[Found]:
    if not settings.engines:
        yield NO_ENGINE
    for e in settings.engines:
        yield Found("engine", e.name, True, f"{e.url}, kind {e.kind}, on {_gpus(e)}")


def _sources(settings: Settings, clock: Clock) -> Iterator[Found]:
    measuring, estimate = sources(settings, clock)
    must = required(settings)
    known: set[DeviceKind] = set()
    for source in measuring:
        for f in source.probe():
            if f.ok and f.kind is not None:
                known.add(f.kind)
            yield _from_finding(source.name, f, fault=not f.ok and source.name in must)
        source.close()
    left = NODE_KINDS - known
    if estimate is not None and left:
        estimate.set_kinds(left)
        for f in estimate.probe():
            yield _from_finding("host", f, fault=not f.ok)
    elif estimate is None and left:
        yield Found("host", ", ".join(sorted(left)), False, "not measured and no estimate: switched off", "", False)


def _from_finding(source: str, f: Finding, *, fault: bool) -> Found:
    how = f"{f.method}: " if f.method is not None and not f.detail.startswith(f.method) else ""
    return Found(source, f.subject, f.ok, how + f.detail, f.fix, fault)


def _engines(settings: Settings, clock: Clock) -> Iterator[Found]:
    if not settings.engines:
        yield NO_ENGINE
    for engine in settings.engines:
        yield _engine(engine, clock)


def _engine(engine: EngineSettings, clock: Clock) -> Found:
    reader = HttpEngineReader(engine, clock)
    try:
        reply = reader.sample()
    finally:
        reader.close()
    if isinstance(reply, EngineFailure):
        return Found("engine", engine.name, False, f"{engine.url}: {reply.reason}", "", True)
    models = ", ".join(sorted({k.model for k in reply.counters})) or "no model yet"
    what = f"{reply.kind} {reply.version}".strip()
    if reply.missing:
        return Found("engine", engine.name, False, f"{what}: lacks {', '.join(reply.missing)}", "", True)
    return Found("engine", engine.name, True, f"{what} at {engine.url}: {models}; on {_gpus(engine)}")


def _gpus(engine: EngineSettings) -> str:
    return (
        "every GPU" if engine.gpus is None else "GPU " + ", ".join(map(str, engine.gpus)) if engine.gpus else "no GPU"
    )


def _grid(settings: Settings, clock: Clock, *, ask: bool) -> Iterator[Found]:
    kind, figure = live(settings.grid), choose(settings.grid)
    if kind is None and figure is None:
        yield Found("grid", "none", False, "no zone configured: joules and tokens, but no grams", NO_ZONE_FIX, True)
    if kind is not None:
        yield Found("grid", kind.name, True, f"asked every {kind.every_s:g} s; licence: {kind.licence}")
    if kind is not None and ask:
        yield from _told(live_provider(settings, kind, clock), settings, clock)
    if figure is not None:
        yield from _told(figure, settings, clock)


def _told(provider: GridProvider, settings: Settings, clock: Clock) -> Iterator[Found]:
    """What a provider says of now: its last word that is not of a later time."""
    now = clock.now()
    try:
        told = [i for i in provider.fetch(settings.grid.zone or "", now) if i.valid_from_s <= now.wall_s]
    except Unavailable as e:
        yield Found("grid", provider.name, False, e.reason, e.fix, True)
        return
    except ReadFailed as e:
        yield Found("grid", provider.name, False, e.reason, "", True)
        return
    if isinstance(provider, Lacking):
        for fault in provider.faults:
            fix = fault.fix if isinstance(fault, Unavailable) else ""
            yield Found("grid", provider.name, False, f"lacks a part: {fault}", fix)
    if not told:
        yield Found("grid", provider.name, False, "says nothing of now", "", True)
        return
    i = max(told, key=lambda i: i.valid_from_s)
    age = "" if i.valid_to_s == math.inf else f", {max(0.0, now.wall_s - i.valid_to_s) / 60:.0f} min old"
    what = f"{i.g_per_kwh:g} gCO2e/kWh, {i.kind}, {i.signal}, {i.basis}{age}; {i.source or i.provider}"
    yield Found("grid", i.zone, True, what)


def lines(found: Sequence[Found], *, colour: bool) -> Iterator[str]:
    """The report as aligned text."""
    marks = {True: "ok", False: "--"}
    paint = {True: "\x1b[32m{}\x1b[0m", False: "\x1b[33m{}\x1b[0m"}
    width = max((len(f.subject) for f in found), default=0)
    for f in found:
        mark = marks[f.ok]
        mark = paint[f.ok].format(mark) if colour else mark
        yield f"{mark}  {f.part:<6}  {f.subject:<{width}}  {f.detail}"
        if f.fix:
            yield f"    {'':<6}  {'':<{width}}  fix: {f.fix}"
