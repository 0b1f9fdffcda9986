"""`joulecar run`: the daemon."""

from __future__ import annotations

import logging
from pathlib import Path

from agent.app import Agent
from agent.clock import SystemClock
from agent.commands.check import findings, lines
from agent.commands.process import logs, stop_on_signals
from agent.errors import JoulecarError
from agent.settings import Settings

log = logging.getLogger("joulecar")


def main(settings: Settings, *, record: Path | None = None) -> int:
    """Measure until SIGTERM or SIGINT; the last window is booked before the exit."""
    logs(settings.agent.log_level)
    clock = SystemClock()
    stop_on_signals(clock)
    for line in lines(findings(settings, clock, ask_engines=False), colour=False):
        log.info("%s", line)
    with start(settings, clock, record) as agent:
        if agent.server is not None:
            log.info("metrics on %s", agent.server.url)
        agent.run()
    log.info("stopped; the last window is booked")
    return 0


def start(settings: Settings, clock: SystemClock, record: Path | None) -> Agent:
    """An agent, or one clear error."""
    try:
        return Agent(settings, clock, record=record)
    except OSError as e:
        raise JoulecarError(str(e)) from e
