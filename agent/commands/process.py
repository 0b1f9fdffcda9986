"""What every long command needs of its process: signals, logs, an end."""

from __future__ import annotations

import logging
import signal
import sys
import threading

from agent.clock import SystemClock


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
