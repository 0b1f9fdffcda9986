"""The load of compose.yaml: asks the demo engine, whose address is named, until it is stopped."""

from __future__ import annotations

import sys

from agent.clock import SystemClock
from agent.commands.process import stop_on_signals
from agent.demo.load import Load


def main(url: str) -> None:
    """A closed loop of a few workers, half of the time busy. An engine that is not there (yet) is asked again."""
    clock = SystemClock()
    stop_on_signals(clock)
    Load(url, clock=clock).start()
    while clock.wait_until(clock.now().mono_s + 3600.0):
        pass  # requests under way are given up at the end


if __name__ == "__main__":
    main(sys.argv[1])
