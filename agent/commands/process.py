"""What every long command needs of its process: signals, logs, an end."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from queue import SimpleQueue
from typing import Protocol

from agent.clock import SystemClock


class Stoppable(Protocol):
    """What a signal stops: the clock."""

    def stop(self) -> None: ...


def stop_on_signals(clock: Stoppable) -> None:
    """SIGTERM and SIGINT wake whoever waits on the clock; the loop then ends by itself.

    A handler runs in the middle of whatever the main thread does, a second signal's in the middle of the first's.
    Setting the clock's event there can wait for a lock that the main thread itself holds, forever. So the handler
    only puts into a SimpleQueue, which is made for that, and a thread of its own stops the clock.
    """
    asked: SimpleQueue[None] = SimpleQueue()

    def wait() -> None:
        asked.get()
        clock.stop()

    threading.Thread(target=wait, name="stop-on-signal", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.put(None))


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
