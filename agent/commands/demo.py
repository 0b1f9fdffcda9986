"""`joulecar demo`: see it work, on this very machine, without GPU, key or model."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace

from agent.app import Agent, policy, serve
from agent.clock import SystemClock
from agent.commands.process import logs, stop_at, stop_on_signals
from agent.config import Overrides, parse
from agent.demo.llama_server import default_cache_dir, find_or_build
from agent.demo.load import Load
from agent.demo.progress import ProgressLine
from agent.demo.server import DemoServer
from agent.demo.simulated import simulated_trace
from agent.demo.tiny_model import NAME, cached
from agent.model import Snapshot
from agent.poll import Poller
from agent.replay import replay
from agent.settings import ServerSettings, Settings
from agent.trace import read_trace
from exporters.server import HttpServer
from exporters.terminal import render

REFRESH_S = 2.0
LOG_EVERY_S = 10.0  # between tables where the output is not a terminal
HEAD_START_S = 60.0  # of the simulated trace, played at once so that there is something to see
SPEED = 4.0  # simulated seconds a second, after that


def main(*, simulated: bool, seconds: float | None, zone: str | None, listen: str | None) -> int:
    """Runs until Ctrl-C, or for so many seconds."""
    logs("warning")
    settings = settings_for(zone, listen)
    clock = SystemClock()
    stop_on_signals(clock)
    (_simulated if simulated else _real)(settings, clock, seconds)
    return 0


def settings_for(zone: str | None, listen: str | None) -> Settings:
    """Nobody outside is asked: not for the zone, and not for the intensity."""
    text = '[agent]\nwindow = "2s"\n[grid]\nmetadata = "off"\n' + (f"zone = {_quoted(zone)}\n" if zone else "")
    settings = parse(text, env=os.environ, origin="joulecar demo", overrides=Overrides(listen=listen))
    return replace(settings, grid=replace(settings.grid, providers=("table",)))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _real(settings: Settings, clock: SystemClock, seconds: float | None) -> None:
    """llama-server with a tiny model, a load on it, and the agent beside it: everything is measured."""
    cache = default_cache_dir()
    progress = ProgressLine(sys.stderr, clock)
    try:
        binary = find_or_build(cache, progress, clock=clock)
        progress("making a tiny model with random weights ...")
        model = cached(cache)
        progress("starting llama-server ...")
        with DemoServer(binary, model, cache / "llama-server.log", clock=clock) as server:
            progress.close()
            engine = parse("", env={}, overrides=Overrides(engines=(server.url,))).engines[0]
            engine = replace(engine, name="llama-server", model=NAME, every_s=2.0)
            load = Load(server.url, clock=clock)
            with Agent(_free_port(replace(settings, engines=(engine,))), clock) as agent:
                if seconds is not None:
                    stop_at(clock, clock.now().mono_s + seconds)
                load.start()
                # After the load has stopped the engine's totals stand still: the last page has all of them.
                view = _View(agent.snapshot, _address(agent.server), simulated=False, clock=clock)
                view.start()
                agent.run()
                load.stop()
                view.last()
                print(f"\nthe load itself counted {_counted(load)}")  # noqa: T201 - this command's output
    finally:
        progress.close()


def _counted(load: Load) -> str:
    t = load.totals()
    return f"{t.requests} requests: {t.prompt_computed} + {t.prompt_cached} cached prompt and {t.generated} tokens"


def _simulated(settings: Settings, clock: SystemClock, seconds: float | None) -> None:
    """The bundled trace, through the same arithmetic."""
    rules = policy(settings)
    states = replay(read_trace(simulated_trace()), rules, {})
    now = next(states)
    holder = _Holder(now.snapshot())
    server = HttpServer(_free_port(settings).server, holder, lambda: None, lambda: None)
    serve(server)
    try:
        if seconds is not None:
            stop_at(clock, clock.now().mono_s + seconds)
        trace_s, start_s = now.books.at.mono_s, clock.now().mono_s
        view = _View(holder.snapshot, _address(server), simulated=True, clock=clock)
        for now in states:
            ahead_s = now.books.at.mono_s - trace_s - HEAD_START_S
            holder.current = now.snapshot()
            if ahead_s >= 0 and ahead_s % 1 == 0 and not clock.wait_until(start_s + ahead_s / SPEED):
                break
            if ahead_s >= 0 and (ahead_s / SPEED) % REFRESH_S == 0:
                view.show()
        view.last()
        print("\nthe simulated trace is over; Ctrl-C ends the metrics page")  # noqa: T201
        while clock.wait_until(clock.now().mono_s + REFRESH_S):
            pass
    finally:
        server.stop()


class _Holder:
    """What the server shows while the trace plays."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.current = snapshot

    def snapshot(self) -> Snapshot:
        return self.current


class _View:
    """The live table: redrawn on a terminal, now and then in a log."""

    def __init__(self, source: Callable[[], Snapshot], address: str, *, simulated: bool, clock: SystemClock) -> None:
        self._source = source
        self._address = address
        self._simulated = simulated
        self._on_terminal = sys.stdout.isatty()
        self._first = source()
        self._shown: list[Snapshot] = []
        self._every_s = REFRESH_S if self._on_terminal else LOG_EVERY_S
        self._poller = Poller("view", self.show, clock, self._every_s)

    def start(self) -> None:
        self._poller.start()

    def show(self) -> None:
        now = self._source()
        if not now.devices:
            return  # nothing has been read yet
        # Rates are over the last few seconds: long enough to hold a window or two.
        old = [s for s in self._shown if now.at.mono_s - s.at.mono_s <= LOG_EVERY_S * 1.5]
        self._shown = [*old, now]
        self._draw(now, old[0] if old else None)

    def last(self) -> None:
        """The totals since the start."""
        self._draw(self._source(), None)

    def _draw(self, now: Snapshot, previous: Snapshot | None) -> None:
        colour = self._on_terminal and "NO_COLOR" not in os.environ
        width = min(120, shutil.get_terminal_size().columns)
        table = render(now, previous, colour=colour, width=width, simulated=self._simulated)
        clear = "\x1b[H\x1b[2J" if self._on_terminal else ""
        print(f"{clear}{table}\nmetrics: {self._address}   Ctrl-C ends", flush=True)  # noqa: T201


def _address(server: HttpServer | None) -> str:
    return server.url if server is not None else "-"


def _free_port(settings: Settings) -> Settings:
    """The usual port, or any free one if an agent already runs there: a demo must not fail for that."""
    if settings.server != ServerSettings():
        return settings
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.server.host, settings.server.port))
        except OSError:
            return replace(settings, server=replace(settings.server, port=0))
    return settings
