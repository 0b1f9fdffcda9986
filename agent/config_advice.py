"""What is allowed but worth a word: said by `check` and at start, never a fault."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Iterator
from urllib.parse import urlsplit

from agent.settings import Settings


def advice(settings: Settings) -> tuple[str, ...]:
    """Sentences for people, in the order of the file; none holds a secret."""
    return tuple(_advice(settings))


def _advice(settings: Settings) -> Iterator[str]:
    agent, server, grid = settings.agent, settings.server, settings.grid
    ticks = agent.window_s / agent.interval_s
    if not math.isclose(ticks, round(ticks), rel_tol=1e-9):
        yield (
            f"agent.window is not a multiple of agent.interval: a window of {agent.window_s:g}s ends at the first "
            f"tick after it, every {math.ceil(ticks) * agent.interval_s:g}s"
        )
    if server.basic_auth_user and server.tls_cert is None and not is_loopback(server.host):
        yield "server.basic_auth_user without server.tls_cert: the password travels in clear text"
    for engine in settings.engines:
        url = urlsplit(engine.url)
        if engine.token is not None and url.scheme == "http" and not is_loopback(url.hostname or ""):
            yield f"engine {engine.name}: its token travels in clear text, since the URL is plain http"
        if not engine.tls_verify:
            yield f"engine {engine.name}: tls_verify is false, so anyone on the way can answer in its place"
    if grid.fixed_g_per_kwh == 0:
        yield "grid.fixed_g_per_kwh is 0: every gram is 0, as you say"
    yield from _budgets(settings)


def _budgets(settings: Settings) -> Iterator[str]:
    named = {engine.name for engine in settings.engines}
    for budget in settings.budgets:
        for engine in budget.engines:
            if named and engine and engine not in named:
                yield f"budget {budget.name}: no engine is called {engine!r}, so nothing of it counts yet"
        if budget.quantity == "carbon" and settings.grid.zone is None and settings.grid.fixed_g_per_kwh is None:
            yield f"budget {budget.name}: grams are counted only where the grid zone is known, and none is configured"


def is_loopback(host: str) -> bool:
    """Whether an address never leaves this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
