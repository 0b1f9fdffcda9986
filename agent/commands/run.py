"""`joulecar run`: the daemon."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

from agent.app import Agent
from agent.clock import SystemClock
from agent.commands.check import findings, lines
from agent.errors import JoulecarError
from agent.settings import Settings

log = logging.getLogger("joulecar")


def main(settings: Settings, *, record: Path | None = None) -> int:
    """Measure until SIGTERM or SIGINT; the last window is booked before the exit."""
    logs(settings.agent.log_level)
    clock = SystemClock()
    stop_on_signals(clock)
    for line in lines(findings(settings, clock), colour=False):
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


def stop_on_signals(clock: SystemClock) -> None:
    """SIGTERM and SIGINT wake whoever waits on the clock; the loop then ends by itself."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: clock.stop())


def stop_at(clock: SystemClock, mono_s: float) -> None:
    """Stop the clock at mono_s, from a thread of its own."""

    def wait() -> None:
        clock.wait_until(mono_s)
        clock.stop()

    threading.Thread(target=wait, name="stop-at", daemon=True).start()


def logs(level: str) -> None:
    """Logs to stderr, one line each. Libraries speak only of trouble: httpx would log every scrape."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    for noisy in ("httpx", "httpcore", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
