"""From energy and work along time to postings: the state machine that lets every joule wait for its owner.

Devices are grouped by the set of engines that use them (a GPU of one engine, a GPU that two share, all GPUs of a
tensor-parallel engine). A group closes its books up to the last moment that all its engines have told about:

    device intervals --> open of its group --cut--> idle     -> posted at once
                                              \\---> work --> tokens known: posted by phase
                                                     \\----> waiting: tokens not booked yet
    cpu, dram, host  --> node: shared among the groups by their GPU work, then as above

Nothing waits longer than max_pending_s: work whose tokens never came goes where the group's last known work went;
energy of engines that cannot be read becomes `unattributed`. All of it is pure: state in, state and postings out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from agent.accounts import (
    Account,
    EngineBook,
    Group,
    Kinds,
    Rules,
    Settlement,
    Waiting,
    by_kind,
    group_of,
    spent,
)
from agent.attribution import Cut, cut
from agent.done import Block, done_of
from agent.learn import learn
from agent.model import (
    Device,
    DeviceKind,
    EngineSample,
    Instant,
    IntervalEnergy,
    ModelWork,
    Posting,
    Use,
    Work,
)
from agent.node import share_node, told, works_of
from agent.powers import by_power
from agent.release import as_shares, expire, idle_shares, normal, release, running, settled
from agent.sharing import foreign_idle_j, known_by, strangers, work_parts
from agent.timeline import between, take, take_work
from agent.weigh import known, weigh
from agent.work import MAX_MODELS, OTHER_MODEL

NOT_HELD: Mapping[Group, float] = {}


def begin(at: Instant) -> Settlement:
    return Settlement(closed_to=at)


def pending_j(state: Settlement) -> Kinds:
    """Joules that no posting has booked yet, per device kind."""
    out: Kinds = {}
    opens = [i for a in state.accounts.values() for i in (*a.open, *a.node)]
    for i in (*opens, *state.node):
        out[i.device.kind] = out.get(i.device.kind, 0.0) + i.energy_j
    for a in state.accounts.values():
        for w in a.waiting:
            _add(out, w.energy_j)
    return out


def note_energy(
    state: Settlement, events: Iterable[IntervalEnergy], rules: Rules, indices: Mapping[Device, int | None]
) -> Settlement:
    """New device intervals: to the group that uses the device, cpu, dram and host to the node."""
    accounts, node = dict(state.accounts), list(state.node)
    opened: dict[Group, list[IntervalEnergy]] = {}
    for e in events:
        if e.device.kind is DeviceKind.GPU:
            opened.setdefault(group_of(e.device, indices.get(e.device), rules), []).append(e)
        else:
            node.append(e)
    for group, more in opened.items():
        account = accounts.get(group) or Account(closed_to=state.closed_to)
        accounts[group] = replace(account, open=(*account.open, *more))
    return replace(state, accounts=accounts, node=tuple(node))


def note_processes(state: Settlement, group: Group, sm_s: Mapping[str, float]) -> Settlement:
    """SM-seconds on a GPU of the group, by engine, and of FOREIGN processes, since the last note."""
    account = state.accounts.get(group) or Account(closed_to=state.closed_to)
    sm = {who: account.sm.get(who, 0.0) + sm_s.get(who, 0.0) for who in {**account.sm, **sm_s}}
    return replace(state, accounts={**state.accounts, group: replace(account, sm=sm)})


def note_cpu(state: Settlement, engine: str, cpu_s: float) -> Settlement:
    """CPU seconds that an engine's processes used since the last note."""
    return replace(state, cpu_s={**state.cpu_s, engine: state.cpu_s.get(engine, 0.0) + cpu_s})


def note_sample(state: Settlement, sample: EngineSample, work: Work | None) -> Settlement:
    """A good scrape, and the work that it revealed (None: the engine's first)."""
    old = state.books.get(sample.engine)
    running = sum(sample.running.values()) if sample.running else None
    models = _named({k.model for k in sample.counters} | set(sample.running))
    if work is None:
        # Before the first sample nothing is known of tokens; that it ran then as it does now is the best guess.
        start = min((a.closed_to for g, a in state.accounts.items() if sample.engine in g), default=state.closed_to)
        idle = {m: ModelWork() for m in models}
        work = Work(sample.engine, start, sample.at, idle, running, running)
    elif work.models:
        models = tuple(sorted(work.models))
    works = old.works if old else ()
    if work.end.mono_s > work.start.mono_s:
        works = (*works, work)
    book = EngineBook(seen_to=sample.at, works=works, models=models or (old.models if old else ()), running=running)
    return replace(state, books={**state.books, sample.engine: book})


def _named(models: Collection[str]) -> tuple[str, ...]:
    """As work.advance() books them: so many under their own names, the others under one."""
    names = sorted(models)
    return tuple(names[:MAX_MODELS] + ([OTHER_MODEL] if len(names) > MAX_MODELS else []))


def due(state: Settlement, now: Instant, rules: Rules) -> Instant | None:
    """The moment up to which books can be closed now; None: wait for a page that is on its way."""
    waited_s = now.mono_s - state.closed_to.mono_s
    if waited_s < rules.window_s * (1 - 1e-9):
        return None
    if not rules.engines:
        return now
    half_s = state.closed_to.mono_s + rules.window_s / 2
    seen = [b.seen_to for e, b in state.books.items() if e in rules.engines]
    fresh = [s for s in seen if s.mono_s >= half_s]
    # An engine that has been silent for longer than a window is not waited for.
    awaited = [s for s in seen if s.mono_s >= state.closed_to.mono_s - rules.window_s]
    if len(fresh) == len(awaited):
        return min(fresh, default=now)
    if waited_s < 2 * rules.window_s * (1 - 1e-9):
        return None
    return min(fresh, default=now)


def close(
    state: Settlement, until: Instant, now: Instant, rules: Rules, metered: Mapping[Group, float] = NOT_HELD
) -> tuple[Settlement, tuple[Posting, ...]]:
    """Close every group that can be closed up to until, share out the node, and let nothing wait too long.

    metered: up to which mono_s the joules of a group's own devices are known, where that is not up to now. Its books
    stay open from there on, so that joules which are told late meet the work that they were spent on.
    """
    return _close(state, until, now, rules, metered) if until.mono_s > state.closed_to.mono_s else (state, ())


def _close(
    state: Settlement, until: Instant, now: Instant, rules: Rules, metered: Mapping[Group, float]
) -> tuple[Settlement, tuple[Posting, ...]]:
    postings: list[Posting] = []
    accounts = _with_all_groups(state, rules)
    untils = {g: _known_to(a, until, metered.get(g, until.mono_s)) for g, a in accounts.items()}
    readable = {
        g
        for g, a in accounts.items()
        if g and a.closed_to.mono_s < untils[g].mono_s and all(told(state, e, untils[g]) for e in g)
    }
    cuts = {g: _cut(state, g, accounts[g], untils[g], rules) for g in readable}

    node_now, node_later = take(state.node, until.mono_s)
    parts = share_node(state, accounts, cuts, node_now, until, rules)
    books = dict(state.books)
    for group, account in accounts.items():
        mine = parts.get(group, ())
        if not group:
            posting, accounts[group] = _close_nobodys(account, mine, until)
        elif group in readable:
            posting, accounts[group] = _close_group(state, group, account, mine, cuts[group], untils[group], now, rules)
        else:
            kept = replace(account, node=(*account.node, *mine))
            posting, accounts[group] = expire(kept, group, now, rules)
        postings.extend(posting)
    for name, book in books.items():
        groups = [accounts[g].closed_to.mono_s for g in accounts if name in g]
        _, rest = take_work(book.works, min(groups, default=until.mono_s))
        books[name] = replace(book, works=tuple(rest))
    closed = replace(state, closed_to=until, accounts=accounts, books=books, node=tuple(node_later), cpu_s={})
    return closed, tuple(p for p in postings if p.shares)


def finish(state: Settlement, now: Instant, rules: Rules) -> tuple[Settlement, tuple[Posting, ...]]:
    """The end: nothing is left pending. After its last page an engine is taken to have gone on as it was."""
    books = dict(state.books)
    for name, book in books.items():
        late_s = now.mono_s - book.seen_to.mono_s
        if 0 < late_s <= max(2 * rules.window_s, rules.max_pending_s):
            tail = Work(name, book.seen_to, now, {m: ModelWork() for m in book.models}, book.running, book.running)
            books[name] = replace(book, works=(*book.works, tail), seen_to=now)
    patient = replace(state, books=books)
    impatient = replace(rules, max_pending_s=-1.0)
    return _close(patient, now, now, impatient, NOT_HELD)


def _known_to(account: Account, until: Instant, metered_s: float) -> Instant:
    if metered_s >= until.mono_s:
        return until
    return between(account.closed_to, until, max(metered_s, account.closed_to.mono_s))


def _with_all_groups(state: Settlement, rules: Rules) -> dict[Group, Account]:
    """The accounts, one for nobody, and one for every engine that has no GPU here: each may be owed a part of
    the node."""
    accounts: dict[Group, Account] = {frozenset(): Account(closed_to=state.closed_to), **state.accounts}
    housed = {e for g in accounts for e in g}
    for engine in rules.engines:
        if engine not in housed:
            accounts[frozenset({engine})] = Account(closed_to=state.closed_to)
    return accounts


def _cut(state: Settlement, group: Group, account: Account, until: Instant, rules: Rules) -> Cut:
    before, _ = take(account.open, until.mono_s)
    if not before and not account.open:
        # A machine without GPU: the node's power tells busy from idle, but of several engines not whose.
        alone = len(rules.engines) <= 1
        before, _ = take((*account.node, *state.node), until.mono_s) if alone else ([], [])
    return cut(before, works_of(state, group, account, until), account.closed_to.mono_s, until.mono_s, account.floor)


def _close_nobodys(account: Account, node: Sequence[IntervalEnergy], until: Instant) -> tuple[list[Posting], Account]:
    before, after = take(account.open, until.mono_s)
    mine = (*before, *account.node, *node)
    shares = as_shares(by_kind(mine), Use.UNASSIGNED, "", "")
    closed = replace(account, closed_to=until, open=tuple(after), node=())
    return [Posting(account.closed_to, until, shares, spent(mine))], closed


def _close_group(
    state: Settlement,
    group: Group,
    account: Account,
    node: Sequence[IntervalEnergy],
    seen: Cut,
    until: Instant,
    now: Instant,
    rules: Rules,
) -> tuple[list[Posting], Account]:
    before, after = take(account.open, until.mono_s)
    node, node_after = take((*account.node, *node), until.mono_s)
    works = works_of(state, group, account, until)
    flat = [w for ws in works.values() for w in ws]

    # What was measured on the group's own GPUs is cut as cut() found; the node's part by the same times.
    idle: Kinds = {}
    work: Kinds = {}
    gpu_j = sum(i.energy_j for i in before)
    for kind, energy_j in by_kind(before).items():
        part = min(1.0, seen.idle_j / gpu_j) if gpu_j > 0 else 1.0
        idle[kind] = energy_j * part
        work[kind] = energy_j - idle[kind]
    total_j = seen.work_j + seen.idle_j
    idle_part = min(1.0, seen.idle_j / total_j) if not before and total_j > 0 else 1.0 - seen.busy_share
    for kind, energy_j in by_kind(node).items():
        idle_j = energy_j * idle_part
        idle[kind] = idle.get(kind, 0.0) + idle_j
        work[kind] = work.get(kind, 0.0) + energy_j - idle_j

    owners, foreign = work_parts(account)
    powers = account.powers
    if owners is not None:
        powers = powers if foreign > 0 else powers.plus(owners, total_j, seen.total_s)
        owners = by_power(owners, powers, account.floor.rest_w)
    beside_j = min(foreign_idle_j(account, seen, before), idle.get(DeviceKind.GPU, 0.0))
    taken = {kind: energy_j * foreign for kind, energy_j in work.items()}
    work = {kind: energy_j - taken[kind] for kind, energy_j in work.items()}
    if beside_j > 0:
        idle[DeviceKind.GPU] -= beside_j
        taken[DeviceKind.GPU] = taken.get(DeviceKind.GPU, 0.0) + beside_j
    posted = [*idle_shares(state, group, idle, rules), *as_shares(taken, Use.FOREIGN, "", "")]
    when = spent((*before, *node))
    postings = [Posting(account.closed_to, until, tuple(posted), when)]
    foreign_j = seen.work_j * foreign + beside_j
    floor = account.floor
    if not strangers(account):
        floor = floor.learn(
            idle_w=seen.idle_w, busy_w=seen.busy_w, peak_w=seen.peak_w, end_w=seen.end_w, power=seen.power
        )
    block = account.block.plus(Block(total_j - foreign_j, seen.total_s, seen.busy_s, done_of(flat), seen.busy_var_s2))
    weights = weigh(block.done, rules, known(account, rules))
    waiting = account.waiting
    if any(work.values()):
        waiting = (*waiting, Waiting(account.closed_to, until, work, owners, when))
    account = replace(
        account,
        closed_to=until,
        open=tuple(after),
        node=tuple(node_after),
        waiting=waiting,
        weights=weights,
        block=block,
        floor=floor,
        sm={},
        powers=powers,
        by=known_by(account, group, before, rules),
    )
    if weights and settled(state, group, flat, weights):
        if rules.prefill_weight is None:
            account = _learned(account, quiet=not any(running(state, e) for e in group))
            account = replace(account, moved=False)
            account = replace(account, weights=weigh(block.done, rules, known(account, rules)))
        settled_account = replace(account, waiting=(), weights={}, block=Block(), mix=normal(account.weights))
        return [*postings, *release(account)], settled_account
    if not account.waiting and not any(running(state, e) for e in group):
        account = replace(account, weights={}, block=Block(), moved=False)
    expired, account = expire(account, group, now, rules)
    return [*postings, *expired], account


def _learned(account: Account, *, quiet: bool) -> Account:
    """The account after one more released block. What runs at its end has tokens that are told later: then several
    blocks are learned from as one, so that what crosses their edges is a small part. Nothing is learned from a block of
    GPUs that changed, nor of none."""
    if account.moved or account.block.energy_j <= 0:
        return replace(account, gathered=Block())
    gathered = account.gathered.plus(account.block)
    if not quiet and not gathered.whole:
        return replace(account, gathered=gathered)
    fit = learn(account.fit, gathered, account.floor.rest_w, quiet=quiet)
    return replace(account, gathered=Block(), fit=fit)


def _add(into: Kinds, energy_j: Mapping[DeviceKind, float]) -> None:
    for kind, joules in energy_j.items():
        into[kind] = into.get(kind, 0.0) + joules
