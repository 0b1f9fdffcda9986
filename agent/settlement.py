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

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.attribution import Cut, Floor, Owner, cut, phase_weights, split
from agent.model import (
    Device,
    DeviceKind,
    EngineSample,
    Instant,
    IntervalEnergy,
    ModelWork,
    Posting,
    Share,
    Use,
    Work,
)
from agent.timeline import take, take_work

Group = frozenset[str]  # the names of the engines that share devices; empty: nobody's
Kinds = dict[DeviceKind, float]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about attribution. gpus: None means every GPU; entries are UUIDs or indices."""

    engines: Mapping[str, tuple[str | int, ...] | None] = field(default_factory=dict)
    prefill_weight: float = 0.12
    node_shared: bool = True
    max_pending_s: float = 60.0
    window_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Work energy of a group whose tokens have not been booked yet."""

    since: Instant
    until: Instant
    energy_j: Mapping[DeviceKind, float]


@dataclass(frozen=True, slots=True)
class Account:
    """One group's books."""

    closed_to: Instant
    open: tuple[IntervalEnergy, ...] = ()  # its own GPUs
    node: tuple[IntervalEnergy, ...] = ()  # its part of cpu, dram and host, while it cannot be closed
    waiting: tuple[Waiting, ...] = ()
    weights: Mapping[Owner, float] = field(default_factory=dict)  # of tokens booked since waiting began
    mix: Mapping[Owner, float] = field(default_factory=dict)  # the last known phases
    floor: Floor = field(default_factory=Floor)


@dataclass(frozen=True, slots=True)
class EngineBook:
    """What one engine has told."""

    seen_to: Instant
    works: tuple[Work, ...] = ()
    models: tuple[str, ...] = ()
    running: float | None = None  # at seen_to


@dataclass(frozen=True, slots=True)
class Settlement:
    """All that waits. pending_j() of it plus what was posted is what the meters gave."""

    closed_to: Instant
    accounts: Mapping[Group, Account] = field(default_factory=dict)
    books: Mapping[str, EngineBook] = field(default_factory=dict)
    node: tuple[IntervalEnergy, ...] = ()
    cpu_s: Mapping[str, float] = field(default_factory=dict)  # CPU seconds by engine since the last close


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
    for e in events:
        if e.device.kind is not DeviceKind.GPU:
            node.append(e)
            continue
        group = group_of(e.device, indices.get(e.device), rules)
        account = accounts.get(group) or Account(closed_to=state.closed_to)
        accounts[group] = replace(account, open=(*account.open, e))
    return replace(state, accounts=accounts, node=tuple(node))


def group_of(device: Device, index: int | None, rules: Rules) -> Group:
    """The engines that use a GPU."""
    return frozenset(
        name
        for name, gpus in rules.engines.items()
        if gpus is None or device.key in gpus or (index is not None and index in gpus)
    )


def note_cpu(state: Settlement, engine: str, cpu_s: float) -> Settlement:
    """CPU seconds that an engine's processes used since the last note."""
    return replace(state, cpu_s={**state.cpu_s, engine: state.cpu_s.get(engine, 0.0) + cpu_s})


def note_sample(state: Settlement, sample: EngineSample, work: Work | None) -> Settlement:
    """A good scrape, and the work that it revealed (None: the engine's first)."""
    old = state.books.get(sample.engine)
    running = sum(sample.running.values()) if sample.running else None
    models = tuple(sorted({k.model for k in sample.counters} | set(sample.running)))
    if work is None:
        # Before the first sample nothing is known of tokens; that it ran then as it does now is the best guess.
        start = old.seen_to if old else state.closed_to
        idle = {m: ModelWork() for m in models}
        work = Work(sample.engine, start, sample.at, idle, running, running)
    elif work.models:
        models = tuple(sorted(work.models))
    if work.end.mono_s <= work.start.mono_s:
        return state
    works = (*(old.works if old else ()), work)
    book = EngineBook(seen_to=sample.at, works=works, models=models or (old.models if old else ()), running=running)
    return replace(state, books={**state.books, sample.engine: book})


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


def close(state: Settlement, until: Instant, now: Instant, rules: Rules) -> tuple[Settlement, tuple[Posting, ...]]:
    """Close every group that can be closed up to until, share out the node, and let nothing wait too long."""
    if until.mono_s <= state.closed_to.mono_s:
        return state, ()
    postings: list[Posting] = []
    accounts = _with_all_groups(state, rules)
    readable = {
        g
        for g, a in accounts.items()
        if g and a.closed_to.mono_s < until.mono_s and all(_told(state, e, until) for e in g)
    }
    cuts = {g: _cut(state, g, accounts[g], until, rules) for g in readable}

    node_now, node_later = take(state.node, until.mono_s)
    parts = _share_node(state, accounts, cuts, node_now, until, rules)
    books = dict(state.books)
    for group, account in accounts.items():
        mine = parts.get(group, ())
        if not group:
            posting, accounts[group] = _close_nobodys(account, mine, until)
        elif group in readable:
            posting, accounts[group] = _close_group(state, group, account, mine, cuts[group], until, now, rules)
        else:
            kept = replace(account, node=(*account.node, *mine))
            posting, accounts[group] = _expire(kept, group, now, rules)
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
        if 0 < late_s <= 2 * rules.window_s:
            tail = Work(name, book.seen_to, now, {m: ModelWork() for m in book.models}, book.running, book.running)
            books[name] = replace(book, works=(*book.works, tail), seen_to=now)
    patient = replace(state, books=books)
    impatient = replace(rules, max_pending_s=-1.0)
    return close(patient, now, now, impatient) if now.mono_s > state.closed_to.mono_s else _flush(patient, now, rules)


def _flush(state: Settlement, now: Instant, rules: Rules) -> tuple[Settlement, tuple[Posting, ...]]:
    """finish() at the very moment of the last close: only what waits is left."""
    postings: list[Posting] = []
    accounts = dict(state.accounts)
    for group, account in accounts.items():
        posting, accounts[group] = _expire(account, group, now, replace(rules, max_pending_s=-1.0))
        postings.extend(posting)
    if state.node:
        shares = _as_shares(_kinds(state.node), Use.UNASSIGNED, "", "")
        postings.append(Posting(state.node[0].start, now, shares))
    return replace(state, accounts=accounts, node=()), tuple(postings)


def _with_all_groups(state: Settlement, rules: Rules) -> dict[Group, Account]:
    """The accounts, one for nobody, and one for every engine that has no GPU here: each may be owed a part of
    the node."""
    accounts: dict[Group, Account] = {frozenset(): Account(closed_to=state.closed_to), **state.accounts}
    housed = {e for g in accounts for e in g}
    for engine in rules.engines:
        if engine not in housed:
            accounts[frozenset({engine})] = Account(closed_to=state.closed_to)
    return accounts


def _told(state: Settlement, engine: str, until: Instant) -> bool:
    book = state.books.get(engine)
    return book is not None and book.seen_to.mono_s >= until.mono_s


def _works(state: Settlement, group: Group, account: Account, until: Instant) -> dict[str, list[Work]]:
    """Each engine's work from the group's last close to until."""
    out = {}
    for e in sorted(group):
        _, mine = take_work(state.books[e].works, account.closed_to.mono_s)
        out[e], _ = take_work(mine, until.mono_s)
    return out


def _cut(state: Settlement, group: Group, account: Account, until: Instant, rules: Rules) -> Cut:
    before, _ = take(account.open, until.mono_s)
    if not before and not account.open:
        before, _ = take(state.node, until.mono_s)  # a machine without GPU: the node's power tells busy from idle
        if len(rules.engines) > 1:
            before = []  # ... but not whose
    return cut(before, _works(state, group, account, until), account.closed_to.mono_s, until.mono_s, account.floor)


def _share_node(
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
    owners = [g for g in accounts if g]
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
            span_s = until.mono_s - accounts[g].closed_to.mono_s
            weights[g] = cuts[g].work_j * (window_s / span_s if span_s > 0 else 0.0)
        else:
            recent, _ = take(accounts[g].open, until.mono_s)
            _, recent = take(recent, state.closed_to.mono_s)
            idle_j = (accounts[g].floor.idle_w or 0.0) * window_s
            weights[g] = max(0.0, sum(i.energy_j for i in recent) - idle_j)
    if sum(weights.values()) <= 0:
        weights = {g: float(len(g)) for g in owners}
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
    if not all(_told(state, e, until) for e in group):
        return 0.0
    works = [w for ws in _works(state, group, account, until).values() for w in ws]
    return sum(phase_weights(works, rules.prefill_weight).values())


def _close_nobodys(account: Account, node: Sequence[IntervalEnergy], until: Instant) -> tuple[list[Posting], Account]:
    before, after = take(account.open, until.mono_s)
    shares = _as_shares(_kinds((*before, *account.node, *node)), Use.UNASSIGNED, "", "")
    closed = replace(account, closed_to=until, open=tuple(after), node=())
    return [Posting(account.closed_to, until, shares)], closed


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
    works = _works(state, group, account, until)
    flat = [w for ws in works.values() for w in ws]

    # What was measured on the group's own GPUs is cut as cut() found; the node's part by the same times.
    idle: Kinds = {}
    work: Kinds = {}
    gpu_j = sum(i.energy_j for i in before)
    for kind, energy_j in _kinds(before).items():
        part = seen.idle_j / gpu_j if gpu_j > 0 else 1.0
        idle[kind] = energy_j * part
        work[kind] = energy_j - idle[kind]
    total_j = seen.work_j + seen.idle_j
    idle_part = seen.idle_j / total_j if not before and total_j > 0 else 1.0 - seen.busy_share
    for kind, energy_j in _kinds((*account.node, *node)).items():
        idle_j = energy_j * idle_part
        idle[kind] = idle.get(kind, 0.0) + idle_j
        work[kind] = work.get(kind, 0.0) + energy_j - idle_j

    postings = [Posting(account.closed_to, until, _idle_shares(state, group, idle))]
    tokens = phase_weights(flat, rules.prefill_weight)
    weights = {o: account.weights.get(o, 0.0) + tokens.get(o, 0.0) for o in {**account.weights, **tokens}}
    waiting = (*account.waiting, Waiting(account.closed_to, until, work)) if any(work.values()) else account.waiting
    account = replace(
        account,
        closed_to=until,
        open=tuple(after),
        node=(),
        waiting=waiting,
        weights=weights,
        floor=account.floor.learn(idle_w=seen.idle_w, busy_w=seen.busy_w),
    )
    if weights and _settled(state, group, flat, weights):
        return [*postings, *_release(account)], replace(account, waiting=(), weights={}, mix=_normal(weights))
    if not account.waiting and not any(_running(state, e) for e in group):
        account = replace(account, weights={})
    expired, account = _expire(account, group, now, rules)
    return [*postings, *expired], account


def _running(state: Settlement, engine: str) -> bool:
    return (state.books[engine].running or 0.0) > 0


def _settled(state: Settlement, group: Group, works: Sequence[Work], weights: Mapping[Owner, float]) -> bool:
    """Have all engines that worked booked their tokens? One that still runs and has booked no generated token
    since may be late: some engines book a prompt at its first token, and generated tokens at a request's end."""
    for engine in group:
        decoded = any(o[0] == engine and o[2] is Use.DECODE for o in weights)
        if not decoded and _running(state, engine):
            return False
    return True


def _release(account: Account) -> list[Posting]:
    """Everything that waited, by the tokens that came."""
    return [Posting(w.since, w.until, _phase_shares(w.energy_j, account.weights)) for w in account.waiting]


def _expire(account: Account, group: Group, now: Instant, rules: Rules) -> tuple[list[Posting], Account]:
    """What has waited for max_pending_s: work goes by the tokens that did come, else as the last known work
    went; energy of an engine that cannot be read is nobody's."""
    horizon_s = now.mono_s - rules.max_pending_s
    postings: list[Posting] = []
    waiting = []
    for w in account.waiting:
        if w.until.mono_s > horizon_s:
            waiting.append(w)
        elif known := (account.weights or account.mix):
            postings.append(Posting(w.since, w.until, _phase_shares(w.energy_j, known)))
        else:
            engine = next(iter(group)) if len(group) == 1 else ""
            postings.append(Posting(w.since, w.until, _as_shares(w.energy_j, Use.UNATTRIBUTED, engine, "")))
    if account.weights and len(waiting) < len(account.waiting):
        account = replace(account, mix=_normal(account.weights), weights=account.weights if waiting else {})
    account = replace(account, waiting=tuple(waiting))
    if account.closed_to.mono_s < horizon_s:
        old_open, new_open = take(account.open, horizon_s)
        old_node, new_node = take(account.node, horizon_s)
        old = (*old_open, *old_node)
        if old:
            shares = _as_shares(_kinds(old), Use.UNATTRIBUTED, "", "")
            postings.append(Posting(old[0].start, old[-1].end, shares))
        account = replace(account, open=tuple(new_open), node=tuple(new_node))
        ends = [i.end for i in old]
        if ends:
            account = replace(account, closed_to=max(account.closed_to, *ends))
    return postings, account


def _idle_shares(state: Settlement, group: Group, energy_j: Mapping[DeviceKind, float]) -> tuple[Share, ...]:
    owners = {}
    for engine in sorted(group):
        models = state.books[engine].models or ("",)
        for model in models:
            owners[(engine, model, Use.IDLE)] = 1.0 / len(models)
    return _phase_shares(energy_j, owners)


def _phase_shares(energy_j: Mapping[DeviceKind, float], weights: Mapping[Owner, float]) -> tuple[Share, ...]:
    return tuple(
        Share(kind, use, engine, model, part_j)
        for kind, joules in energy_j.items()
        if joules > 0
        for (engine, model, use), part_j in split(joules, weights).items()
        if part_j > 0
    )


def _as_shares(energy_j: Mapping[DeviceKind, float], use: Use, engine: str, model: str) -> tuple[Share, ...]:
    return tuple(Share(kind, use, engine, model, joules) for kind, joules in energy_j.items() if joules > 0)


def _kinds(intervals: Iterable[IntervalEnergy]) -> Kinds:
    out: Kinds = {}
    for i in intervals:
        out[i.device.kind] = out.get(i.device.kind, 0.0) + i.energy_j
    return out


def _add(into: Kinds, energy_j: Mapping[DeviceKind, float]) -> None:
    for kind, joules in energy_j.items():
        into[kind] = into.get(kind, 0.0) + joules


def _normal(weights: Mapping[Owner, float]) -> dict[Owner, float]:
    total = sum(weights.values())
    return {o: w / total for o, w in weights.items()} if total > 0 else {}
