"""What `joulecar check` says of prices, of embodied carbon and of the directory for the books."""

from __future__ import annotations

from collections.abc import Iterator

from agent.app import sources
from agent.commands.report import Found
from agent.embodied import embodied_lines
from agent.errors import JoulecarError
from agent.model import Device
from agent.ports import Clock
from agent.prices.feed import PriceProvider
from agent.prices.lines import price_lines
from agent.prices.table import day_ahead
from agent.settings import BudgetSettings, Settings
from agent.store.database import LOCK, InUseError, lock


def site(settings: Settings, clock: Clock, *, ask: bool) -> Iterator[Found]:
    """ask: the source of prices is asked once, and the GPUs for their names."""
    yield from _state(settings)
    provider = _provider(settings, clock) if ask else None
    for subject, ok, detail, fix in price_lines(settings.site.price, provider, clock.now()):
        yield Found("price", subject, ok, detail, fix, fault=not ok)
    for b in settings.budgets:
        yield Found("budget", b.name, True, _budget(b))
    if settings.site.embodied is None or not ask:
        return
    for subject, ok, detail, fix in embodied_lines(_devices(settings, clock), settings.site.embodied):
        yield Found("site", subject, ok, detail, fix)


def _budget(b: BudgetSettings) -> str:
    """The limit in the unit of its metrics, so that a slip in a prefix is seen."""
    period = f"any {b.over_s / 86_400:g} days" if b.period == "rolling" else f"a {b.period} in {b.timezone}"
    whose = " and ".join(
        f"{what} {', '.join(names)}" for what, names in (("engine", b.engines), ("model", b.models)) if names
    )
    return f"{b.limit:g} {b.unit} in {period}, of {whose or 'all that is measured here'}"


def _state(settings: Settings) -> Iterator[Found]:
    folder = settings.agent.state_dir
    if folder is None:
        yield Found(
            "state", "none", False, "totals are in memory and begin anew with each start", "set agent.state_dir"
        )
        return
    if not (folder / LOCK).exists():  # looking leaves nothing behind, least of all a file of another user
        yield Found("state", str(folder), True, "the books will outlive a restart there")
        return
    try:
        lock(folder).close()
    except InUseError:
        yield Found("state", str(folder), True, "an agent keeps its books there now")
    except JoulecarError as e:
        yield Found("state", str(folder), False, str(e), "see to its rights and its free space", fault=True)
    else:
        yield Found("state", str(folder), True, "the books outlive a restart there")


def _provider(settings: Settings, clock: Clock) -> PriceProvider | None:
    kind, own = day_ahead(settings.site.price), settings.site.price
    if kind is None or own is None:
        return None
    from agent.grids.client import HttpxClient  # noqa: PLC0415 - only where something is to be asked

    return kind.build(own, HttpxClient(clock))


def _devices(settings: Settings, clock: Clock) -> list[tuple[Device, str]]:
    measuring, _ = sources(settings, clock)
    found = []
    for source in measuring:
        try:
            found += [(r.device, r.name) for r in source.read()]
        except JoulecarError:
            continue  # its own line says why
        finally:
            source.close()
    return found
