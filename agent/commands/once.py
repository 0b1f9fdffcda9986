"""`joulecar once`: measure one window, print it, exit."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace

from agent.app import Agent
from agent.clock import SystemClock
from agent.commands.process import logs, stop_at, stop_on_signals
from agent.settings import Settings


def main(settings: Settings, *, window_s: float, as_json: bool) -> int:
    """0, or 1 if no device could be read."""
    logs("warning")
    clock = SystemClock()
    stop_on_signals(clock)
    end_s = clock.now().mono_s + window_s
    # The books of the directory are the daemon's: one window has its own, and may be measured beside it.
    settings = replace(settings, agent=replace(settings.agent, state_dir=None))
    agent = Agent(settings, clock, serve=False)
    if sys.stderr.isatty():
        print(f"measuring for {window_s:g} s ...", file=sys.stderr)  # noqa: T201
    with agent:
        stop_at(clock, end_s)
        agent.run()
    snapshot = agent.snapshot()
    if as_json:
        from exporters.jsonview import to_json  # noqa: PLC0415

        print(to_json(snapshot))  # noqa: T201
    else:
        from exporters.terminal import render  # noqa: PLC0415

        width = shutil.get_terminal_size().columns
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        print(render(snapshot, None, colour=colour, width=width), end="")  # noqa: T201
    return 0 if snapshot.devices else 1
