"""`joulecar check`: what was found, what was not, why, and the fix."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from agent.app import required, sources
from agent.clock import SystemClock
from agent.commands.grid_lines import grid
from agent.commands.place_lines import places
from agent.commands.process import logs
from agent.commands.report import Found, lines
from agent.commands.site_lines import site
from agent.commands.span_lines import spans
from agent.config_advice import advice
from agent.engine_processes import LOOPBACK
from agent.engines.scrape import HttpEngineReader
from agent.model import DeviceKind, EngineFailure
from agent.ports import Clock, Finding
from agent.sensors import NODE_KINDS
from agent.settings import EngineSettings, Settings
from agent.sources import rights
from agent.sources.nvml import NvmlSource
from agent.sources.processes import ListenerCpu

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
    site_ = site(settings, clock, ask=ask_engines)
    placed = _places(settings, clock) if ask_engines else ()
    return [
        *_sources(settings, clock),
        *_rights(settings),
        *engines,
        *placed,
        *grid(settings, clock, ask=ask_engines),
        *spans(settings, clock, ask=ask_engines),
        *site_,
        *said,
    ]


def _rights(settings: Settings) -> Iterator[Found]:
    """Good to know, never a fault: what is missing is told where it is missed."""
    local = sum(urlsplit(e.url).hostname in LOOPBACK for e in settings.engines)
    for f in rights.findings(rights.own(), local_engines=local):
        yield _from_finding("rights", f, fault=False)


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


def _places(settings: Settings, clock: Clock) -> Iterator[Found]:
    if settings.sources.nvml == "off":
        return
    nvml = NvmlSource(clock)
    try:
        yield from places(settings.engines, nvml, ListenerCpu(clock))
    finally:
        nvml.close()


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
    if engine.gpus is None:
        return "the GPUs of its processes" if engine.find_gpus else "every GPU"
    return "GPU " + ", ".join(map(str, engine.gpus)) if engine.gpus else "no GPU"
