"""`joulecar run`: the daemon."""

from __future__ import annotations

import logging
from pathlib import Path

from agent.app import Agent
from agent.clock import SystemClock
from agent.commands.check import findings
from agent.commands.process import logs, stop_on_signals
from agent.commands.report import lines
from agent.errors import JoulecarError
from agent.model import Snapshot
from agent.settings import Settings

log = logging.getLogger("joulecar")


def main(settings: Settings, *, record: Path | None = None) -> int:
    """Measure until SIGTERM or SIGINT; the last window is booked before the exit."""
    logs(settings.agent.log_level)
    clock = SystemClock()
    stop_on_signals(clock)
    for line in lines(findings(settings, clock, ask_engines=False), colour=False):
        log.info("%s", line)
    if not clock.wait_until(clock.now().mono_s):  # told to stop while it looked around
        return 0
    with start(settings, clock, record) as agent:
        if agent.server is not None:
            log.info("metrics on %s", agent.server.url)
        if agent.intake is not None:
            log.info("request spans on %s", agent.intake.url)
        agent.run()
    log.info("stopped; the last window is booked: %s", totals(agent.snapshot()))
    return 0


def start(settings: Settings, clock: SystemClock, record: Path | None) -> Agent:
    """An agent, or one clear error."""
    try:
        return Agent(settings, clock, record=record)
    except OSError as e:
        raise JoulecarError(f"{record}: {e.strerror}" if record is not None else str(e)) from e


def totals(snapshot: Snapshot) -> str:
    """What was counted in all, per kind of device, and the tokens: the last scrape cannot have shown the end of it."""
    energy_j: dict[str, float] = {}
    for device, joules in sorted(snapshot.ledger.device_energy_j.items()):
        energy_j[device.kind] = energy_j.get(device.kind, 0.0) + joules
    tokens: dict[str, float] = {}
    for (_, _, kind), count in sorted(snapshot.ledger.tokens.items()):
        tokens[kind] = tokens.get(kind, 0.0) + count
    counted = [f"{kind} {joules:.3f} J" for kind, joules in energy_j.items()]
    counted += [f"{kind} {count:.0f} tokens" for kind, count in tokens.items()]
    return ", ".join(counted) or "nothing was measured"
