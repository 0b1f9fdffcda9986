"""GPUs that go from one group of engines to another, when an engine is found on others. Pure functions.

A joule stays in the books of the group that used the GPU when it flowed. What is closed is closed; of what is still
open, the time since the engine was first seen at its new place goes over to the new group. Joules are moved, never
copied: the sum over all accounts is what it was. What a group learned holds for the GPUs that it learned it on, so it
begins anew; what it is owed for tokens that come late, it gets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from agent.accounts import Account, Group, Rules, Settlement
from agent.model import Device, IntervalEnergy
from agent.timeline import take


@dataclass(frozen=True, slots=True)
class Move:
    """A GPU that is another group's. since_s: mono_s; open energy of the time from then on goes with it."""

    device: Device
    old: Group
    new: Group
    since_s: float


def moves(before: Mapping[Device, Group], now: Mapping[Device, Group], since_s: Mapping[str, float]) -> list[Move]:
    """What changed. since_s: by engine that moved. One that is not there any more without having moved never was:
    it was taken to be everywhere, and does not run."""
    out = []
    for device, new in now.items():
        old = before.get(device, new)
        if old != new:
            out.append(Move(device, old, new, max(since_s.get(e, float("-inf")) for e in old ^ new)))
    return out


def regroup(state: Settlement, gone: Iterable[Move]) -> Settlement:
    """The books after GPUs moved."""
    accounts = dict(state.accounts)
    for move in gone:
        source = _anew(accounts.get(move.old) or Account(closed_to=state.closed_to))
        target = _anew(accounts.get(move.new) or Account(closed_to=state.closed_to))
        stays, goes = take((i for i in source.open if i.device == move.device), move.since_s)
        others = [i for i in source.open if i.device != move.device]
        accounts[move.old] = replace(source, open=_in_order([*others, *stays]))
        accounts[move.new] = replace(target, open=_in_order([*target.open, *goes]))
    return replace(state, accounts=accounts)


def _in_order(intervals: Iterable[IntervalEnergy]) -> tuple[IntervalEnergy, ...]:
    return tuple(sorted(intervals, key=lambda i: i.start))


def _anew(account: Account) -> Account:
    """What it holds and is owed. Nothing learned, nor from what was measured on GPUs of before and after together."""
    begun = bool(account.open or account.waiting or account.weights)
    return Account(
        closed_to=account.closed_to,
        open=account.open,
        node=account.node,
        waiting=account.waiting,
        weights=account.weights,
        mix=account.mix,
        block=account.block,
        by=account.by,
        moved=account.moved or begun,
    )


def without_empty(state: Settlement, groups: Collection[Group], rules: Rules) -> Settlement:
    """Without accounts of groups that have no GPU any more, hold nothing, and whose engines have GPUs elsewhere or are
    on none: else their pages' tokens would wait for joules that never come. groups: those of today's GPUs."""
    housed = {e for g in groups for e in g}
    on_none = {e for e, gpus in rules.engines.items() if gpus == ()}  # these have books of their own
    gone = [
        g
        for g, a in state.accounts.items()
        if g and g not in groups and not (a.open or a.node or a.waiting)
        if all(e in housed or e not in rules.engines or (e in on_none and len(g) > 1) for e in g)
    ]
    return replace(state, accounts={g: a for g, a in state.accounts.items() if g not in gone}) if gone else state
