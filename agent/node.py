"""The node's energy (cpu, dram, host) shared out among the groups of engines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.accounts import Account, Group, Rules, Settlement
from agent.attribution import Cut, phase_weights, split
from agent.model import Instant, IntervalEnergy, Work
from agent.timeline import take, take_work
from agent.weigh import prior


def share_node(
    state: Settlement,
    accounts: Mapping[Group, Account],
    cuts: Mapping[Group, Cut],
    node: Sequence[IntervalEnergy],
    until: Instant,
    rules: Rules,
) -> dict[Group, tuple[IntervalEnergy, ...]]:
    """cpu, dram and host to the groups by their GPU work in this window; without GPUs by CPU time, else by
    tokens; with no work at all evenly, where it becomes idle. A group that cannot be read counts with the power
    above its floor: its share waits with it."""
    # A group of engines that the configuration named before has what it is owed, and no claim on more.
    owners = [g for g in accounts if g and g <= rules.engines.keys()]
    if not node:
        return {}
    if not owners or not rules.node_shared:
        return {frozenset(): tuple(node)}
    weights: dict[Group, float] = {}
    window_s = until.mono_s - state.closed_to.mono_s
    gpus = any(accounts[g].open for g in owners)
    for g in owners:
        if not gpus:
            weights[g] = _cpu_weight(state, accounts[g], g, until, rules, owners)
        elif g in cuts:
            weights[g] = cuts[g].work_j * (window_s / cuts[g].total_s)
        else:
            recent, _ = take(accounts[g].open, until.mono_s)
            _, recent = take(recent, state.closed_to.mono_s)
            idle_j = (accounts[g].floor.idle_w or 0.0) * window_s
            weights[g] = max(0.0, sum(i.energy_j for i in recent) - idle_j)
    if sum(weights.values()) <= 0:
        # A group that has no GPU left, since another engine came to its GPUs, is no second claim on the node.
        there = [g for g in owners if accounts[g].open] or owners
        weights = {g: float(len(g)) for g in there}
    out: dict[Group, list[IntervalEnergy]] = {g: [] for g in owners}
    for interval in node:
        for g, part_j in split(interval.energy_j, weights).items():
            if part_j > 0:
                out[g].append(replace(interval, energy_j=part_j))
    return {g: tuple(parts) for g, parts in out.items()}


def _cpu_weight(
    state: Settlement, account: Account, group: Group, until: Instant, rules: Rules, owners: Sequence[Group]
) -> float:
    engines = {e for g in owners for e in g}
    if engines <= set(state.cpu_s):
        return sum(state.cpu_s[e] for e in group)
    if not all(told(state, e, until) for e in group):
        return 0.0
    works = [w for ws in works_of(state, group, account, until).values() for w in ws]
    return sum(phase_weights(works, prior(rules)).values())


def told(state: Settlement, engine: str, until: Instant) -> bool:
    book = state.books.get(engine)
    return book is not None and book.seen_to.mono_s >= until.mono_s


def works_of(state: Settlement, group: Group, account: Account, until: Instant) -> dict[str, list[Work]]:
    """Each engine's work from the group's last close to until."""
    out = {}
    for e in sorted(group):
        _, mine = take_work(state.books[e].works, account.closed_to.mono_s)
        out[e], _ = take_work(mine, until.mono_s)
    return out
