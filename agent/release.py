"""How energy leaves the books of a group: as idle, by the tokens that came, or because it has waited too long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.accounts import Account, Group, Rules, Settlement, Waiting, by_kind, spent
from agent.attribution import Owner, split
from agent.done import Block
from agent.instances import parts_held
from agent.model import DeviceKind, Instant, Posting, Share, Use, Work
from agent.timeline import take


def settled(state: Settlement, group: Group, works: Sequence[Work], weights: Mapping[Owner, float]) -> bool:
    """Have all engines that worked booked their tokens? One that still runs and has booked no generated token
    since may be late: some engines book a prompt at its first token, and generated tokens at a request's end."""
    for engine in group:
        decoded = any(o[0] == engine and o[2] is Use.DECODE for o in weights)
        if not decoded and running(state, engine):
            return False
    return True


def running(state: Settlement, engine: str) -> bool:
    return (state.books[engine].running or 0.0) > 0


def release(account: Account) -> list[Posting]:
    """Everything that waited, by the tokens that came."""
    return [Posting(w.since, w.until, work_shares(w, account.weights, account.mix), w.spent) for w in account.waiting]


def expire(account: Account, group: Group, now: Instant, rules: Rules) -> tuple[list[Posting], Account]:
    """What has waited for max_pending_s: work goes as the last known work went, else by the tokens that did come;
    energy of an engine that cannot be read is nobody's."""
    horizon_s = now.mono_s - rules.max_pending_s
    postings: list[Posting] = []
    waiting = []
    # What came meanwhile is half the story: prompts are told at their first token, the rest at a request's end.
    best = (account.mix, account.weights)
    if not {o[0] for o in account.weights} <= {o[0] for o in account.mix}:
        best = (account.weights, account.mix)
    for w in account.waiting:
        if w.until.mono_s > horizon_s:
            waiting.append(w)
        else:
            owners = w.owners or ({next(iter(group)): 1.0} if len(group) == 1 else None)
            shares = work_shares(replace(w, owners=owners), *best)
            postings.append(Posting(w.since, w.until, shares, w.spent))
    if account.weights and len(waiting) < len(account.waiting):
        mix = account.mix or normal(account.weights)
        block = account.block if waiting else Block()
        account = replace(account, mix=mix, weights=account.weights if waiting else {}, block=block)
    account = replace(account, waiting=tuple(waiting))
    if account.closed_to.mono_s < horizon_s:
        old_open, new_open = take(account.open, horizon_s)
        old_node, new_node = take(account.node, horizon_s)
        old = (*old_open, *old_node)
        if old:
            shares = as_shares(by_kind(old), Use.UNATTRIBUTED, "", "")
            postings.append(Posting(old[0].start, old[-1].end, shares, spent(old)))
        account = replace(account, open=tuple(new_open), node=tuple(new_node))
        ends = [i.end for i in old]
        if ends:
            account = replace(account, closed_to=max(account.closed_to, *ends))
    return postings, account


def work_shares(waited: Waiting, weights: Mapping[Owner, float], other: Mapping[Owner, float]) -> tuple[Share, ...]:
    """Work by phase: by weights, and by the other ones where those say nothing (of an engine, if its own part is
    known). Where neither says anything it is unattributed, with the engine's name if that is known."""
    if waited.owners is None:
        known = weights or other
        if known:
            return phase_shares(waited.energy_j, known)
        return as_shares(waited.energy_j, Use.UNATTRIBUTED, "", "")
    parts: dict[Owner, float] = {}
    for engine, part in split(1.0, waited.owners).items():
        own = _of(weights, engine) or _of(other, engine) or {(engine, "", Use.UNATTRIBUTED): 1.0}
        for owner, share in split(part, own).items():
            parts[owner] = parts.get(owner, 0.0) + share
    return phase_shares(waited.energy_j, parts)


def _of(weights: Mapping[Owner, float], engine: str) -> dict[Owner, float]:
    return {o: w for o, w in weights.items() if o[0] == engine and w > 0}


def idle_shares(
    state: Settlement, group: Group, energy_j: Mapping[DeviceKind, float], rules: Rules
) -> tuple[Share, ...]:
    """Evenly, or by what they hold of the memory of MIG instances."""
    owners, held = {}, parts_held(rules.instances, group)
    for engine in sorted(group):
        models = state.books[engine].models or ("",)
        for model in models:
            owners[(engine, model, Use.IDLE)] = held[engine] / len(models)
    return phase_shares(energy_j, owners)


def phase_shares(energy_j: Mapping[DeviceKind, float], weights: Mapping[Owner, float]) -> tuple[Share, ...]:
    return tuple(
        Share(kind, use, engine, model, part_j)
        for kind, joules in energy_j.items()
        if joules > 0
        for (engine, model, use), part_j in split(joules, weights).items()
        if part_j > 0
    )


def as_shares(energy_j: Mapping[DeviceKind, float], use: Use, engine: str, model: str) -> tuple[Share, ...]:
    return tuple(Share(kind, use, engine, model, joules) for kind, joules in energy_j.items() if joules > 0)


def normal(weights: Mapping[Owner, float]) -> dict[Owner, float]:
    total = sum(weights.values())
    return {o: w / total for o, w in weights.items()} if total > 0 else {}
