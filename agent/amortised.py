"""Whose the embodied carbon is: of the engines that a device is reserved for, busy or not, for as long as it is.

A device's grams of a time go to the engines of its group in proportion to the joules that were booked to them then,
since several engines on one GPU share it as they use it. Where none was booked they wait for the next booking.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agent.accounts import Group
from agent.embodied import EmbodiedRates
from agent.model import Device, Entry, Use

Owner = tuple[str, str, Use]
ANYBODY: Group = frozenset({"*"})  # no engine is called so: the server, which serves all that runs on it


def accrue(
    waiting_g: Mapping[Group, float], rates: EmbodiedRates, groups: Mapping[Device, Group], seconds: float
) -> dict[Group, float]:
    """What waits, and the grams of so many seconds more."""
    out = dict(waiting_g)
    if rates.node_g_per_s > 0:
        out[ANYBODY] = out.get(ANYBODY, 0.0) + rates.node_g_per_s * max(0.0, seconds)
    for device, g_per_s in rates.by_device.items():
        group = groups.get(device, frozenset())
        out[group] = out.get(group, 0.0) + g_per_s * max(0.0, seconds)
    return out


def share_out(
    waiting_g: Mapping[Group, float], entries: Iterable[Entry], *, last: bool = False
) -> tuple[dict[Group, float], dict[Owner, float]]:
    """What still waits, and the grams by owner. last: nothing waits on; it is then the group's, or nobody's."""
    booked: dict[Owner, float] = {}
    for e in entries:
        who = (e.engine, e.model, e.use)
        booked[who] = booked.get(who, 0.0) + e.energy_j + e.overhead_j
    rest: dict[Group, float] = {}
    out: dict[Owner, float] = {}
    for group, grams in waiting_g.items():
        mine = {who: j for who, j in booked.items() if j > 0 and _is_of(who, group)}
        total_j = sum(mine.values())
        if total_j > 0:
            for who, j in mine.items():
                out[who] = out.get(who, 0.0) + grams * (j / total_j)
        elif last and grams > 0:
            engine = next(iter(group)) if len(group) == 1 and group != ANYBODY else ""
            who = (engine, "", Use.UNATTRIBUTED if engine else Use.UNASSIGNED)
            out[who] = out.get(who, 0.0) + grams
        else:
            rest[group] = grams
    return rest, out


def _is_of(who: Owner, group: Group) -> bool:
    engine, _, use = who
    if group == ANYBODY:
        return True
    return engine in group if group else use is Use.UNASSIGNED
