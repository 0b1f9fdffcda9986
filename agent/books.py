"""One tick of the agent, without the world: what was observed goes in, new books and a snapshot come out.

The live loop and the replay of a trace drive the same tick(); that is why a recorded run gives the same totals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent import (
    amortised,
    energy,
    headline,
    ledger,
    places,
    pricing,
    regroup,
    requests,
    settlement,
    sharing,
    weigh,
    work,
)
from agent.accounts import Group, Rules, Settlement, group_of
from agent.carbon import in_force
from agent.cost import in_force as price_in_force
from agent.embodied import EmbodiedRates, embodied_rates
from agent.instances import in_view
from agent.model import (
    Device,
    DeviceKind,
    DeviceState,
    EnergyPrice,
    EngineFailure,
    EngineSample,
    EngineState,
    Entry,
    Gap,
    GridIntensity,
    Headline,
    Instant,
    IntervalEnergy,
    Ledger,
    Posting,
    Reading,
    RequestSpan,
    Snapshot,
    Work,
)
from agent.request_posts import Tick as Booked
from agent.settings import EmbodiedSettings
from agent.timeline import by_wall

NOT_READ = "not read any more"
FIRST_PAGE_S = 10.0  # after a restart of the agent, energy of the time without it waits so long for the engines


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says, as far as the arithmetic needs it."""

    rules: Rules = field(default_factory=Rules)
    site: pricing.Site = field(default_factory=pricing.Site)
    embodied: EmbodiedSettings | None = None
    windows: tuple[tuple[str, float], ...] = (("1m", 60.0), ("5m", 300.0), ("1h", 3600.0))
    requests: requests.RequestRules | None = None  # None: no spans are received


@dataclass(frozen=True, slots=True)
class Observed:
    """All that was seen at one tick. grid, prices: all that is known now, in no order."""

    at: Instant
    readings: tuple[Reading, ...] = ()
    engines: tuple[EngineSample | EngineFailure, ...] = ()
    grid: tuple[GridIntensity, ...] = ()
    cpu_s: Mapping[str, float] = field(default_factory=dict)  # CPU seconds of each engine's processes so far
    pids: Mapping[str, frozenset[int]] = field(default_factory=dict)  # each engine's processes, where they are seen
    prices: tuple[EnergyPrice, ...] = ()
    spans: tuple[RequestSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that is remembered from tick to tick."""

    at: Instant
    settlement: Settlement
    pasts: tuple[headline.Past, ...]
    headlines: tuple[Headline, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)
    meters: Mapping[Device, energy.MeterState] = field(default_factory=dict)
    last: Mapping[Device, Reading] = field(default_factory=dict)  # the last reading, failed or not
    named: Mapping[Device, Reading] = field(default_factory=dict)  # the last good one: name, index
    works: Mapping[str, work.WorkState] = field(default_factory=dict)
    samples: Mapping[str, EngineSample] = field(default_factory=dict)
    tariffs: pricing.Tariffs = field(default_factory=pricing.Tariffs)
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    homes: sharing.Homes = frozenset()  # where engines were seen at work
    places: places.Places = field(default_factory=dict)  # where those are that name no GPU
    overhead_j: float = 0.0  # node overhead of joules that wait for their owner
    embodied_g: Mapping[Group, float] = field(default_factory=dict)  # not shared out yet
    entries: tuple[Entry, ...] = ()  # what the last tick booked
    posted: tuple[Posting, ...] = ()  # likewise
    heard: tuple[Work, ...] = ()  # what the last tick's pages told
    requests: requests.Requests | None = None
    awaited: frozenset[str] = frozenset()  # engines not heard yet since the agent restarted ...
    hold_to_s: float = -math.inf  # ... and until when (mono_s) nothing is closed for their sake


def begin(at: Instant, policy: Policy) -> Books:
    return Books(at=at, settlement=settlement.begin(at), pasts=headline.begin(policy.windows, at.mono_s))


def tick(books: Books, seen: Observed, policy: Policy) -> Books:
    """Account for everything observed since the last tick."""
    books = _look(books, seen, policy)
    policy = _in_view(policy, books, (*books.named.values(), *seen.readings))
    books = _tick(replace(books, entries=(), posted=(), heard=()), seen, policy)
    return _attribute(books, policy, seen.spans)


def _look(books: Books, seen: Observed, policy: Policy) -> Books:
    """Where the engines are that name no GPU. The open joules of a GPU that is another group's now go with it."""
    answered = {e: s.at for e, s in books.samples.items()}
    now = places.look(books.places, seen.readings, seen.pids, policy.rules, seen.at, answered)
    if now is books.places:
        return books
    since_s = {e: s for e in now if (s := places.moved_since_s(books.places, now, e)) is not None}
    named = {**books.named, **{r.device: r for r in seen.readings if r.error is None}}
    before, after = (
        _groups(named, _in_view(policy, b, named.values()).rules) if since_s else {}
        for b in (books, replace(books, places=now))
    )
    state = regroup.regroup(books.settlement, regroup.moves(before, after, since_s))
    return replace(books, places=now, settlement=state)


def _in_view(policy: Policy, books: Books, readings: Iterable[Reading]) -> Policy:
    rules = in_view(places.placed(policy.rules, books.places, books.samples), readings)
    if books.requests is not None and (taught := books.requests.taught):
        rules = replace(rules, taught=taught)
    return policy if rules is policy.rules else replace(policy, rules=rules)


def _attribute(books: Books, policy: Policy, spans: Sequence[RequestSpan] = (), *, last: bool = False) -> Books:
    """Joules of single requests, of what was posted to their models."""
    if policy.requests is None:
        return books
    kinds = {name: sample.kind for name, sample in books.samples.items()}
    booked = Booked(
        books.at,
        books.settlement,
        books.posted,
        books.entries,
        books.heard,
        kinds,
        weigh.prices(books.settlement.accounts.values(), policy.rules),
        policy.rules.prefill_weight is None,
        spans,
        last=last,
    )
    state = books.requests or requests.begin(books.at, policy.requests)
    return replace(books, requests=requests.advance(state, booked, policy.requests))


def _tick(books: Books, seen: Observed, policy: Policy) -> Books:
    before = books
    books = _meter(books, seen, policy)
    for reply in seen.engines:
        books = _hear(books, reply)
    books = replace(books, homes=sharing.homes(books.homes, seen.readings, seen.pids))
    state = _note_processes(books, seen, seen.at.mono_s - before.at.mono_s, policy)
    for engine, cpu_s in seen.cpu_s.items():
        # A process that ended takes its seconds along: less than before tells nothing.
        if (used_s := cpu_s - before.cpu_s.get(engine, cpu_s)) >= 0:
            state = settlement.note_cpu(state, engine, used_s)
    until = None if _is_held(books) else settlement.due(state, seen.at, policy.rules)
    if until is None:
        return replace(books, settlement=state)
    closed_to = state.closed_to
    state, postings = settlement.close(state, until, seen.at, policy.rules, _metered(books, policy.rules))
    state = regroup.without_empty(state, set(_groups(books.named, policy.rules).values()), policy.rules)
    books = _post(replace(books, settlement=state), postings, policy, closed_to, until)
    return _conclude(books, policy)


def _is_held(books: Books) -> bool:
    return bool(books.awaited) and books.at.mono_s < books.hold_to_s


def post_gaps(totals: Ledger, gaps: Sequence[Gap]) -> Ledger:
    """Times that no meter can tell of."""
    return ledger.post_devices(totals, gaps)


def _metered(books: Books, rules: Rules) -> dict[Group, float]:
    """Up to when (mono_s) the joules of each group's GPUs are known. One that stays away holds up nobody."""
    out: dict[Group, float] = {}
    for device, meter in books.meters.items():
        to = meter.booked_to
        if device.kind is not DeviceKind.GPU or to is None or books.at.mono_s - to.mono_s >= rules.max_pending_s:
            continue
        group = group_of(device, books.named[device].index if device in books.named else None, rules)
        out[group] = min(out.get(group, to.mono_s), to.mono_s)
    return out


def _conclude(books: Books, policy: Policy) -> Books:
    """After a close: the headline ratios, and one more point to compare later ones with."""
    now = headline.sums(books.ledger)
    pasts = headline.remember(books.pasts, books.at.mono_s, now)
    return replace(books, pasts=pasts, headlines=headline.headlines(pasts, now, policy.site.pue))


def finish(books: Books, policy: Policy) -> Books:
    """The end of the run or of the trace: nothing is left waiting anywhere."""
    policy = _in_view(policy, books, books.named.values())
    # A device is read a little after the tick that asks it: the end is where the last one was read.
    at = max((books.at, *(r.at for r in books.last.values())), key=lambda instant: instant.mono_s)
    events: list[IntervalEnergy | Gap] = []
    meters = dict(books.meters)
    for device, reading in books.last.items():
        until = reading.at if reading.at.mono_s >= at.mono_s - energy.HOLD_S else at
        meters[device], found = energy.finish(meters[device], until)
        events.extend(found)
    books = replace(books, meters=meters, entries=(), posted=(), heard=())
    books = _book_events(books, events, policy)
    closed_to = books.settlement.closed_to
    state, postings = settlement.finish(books.settlement, at, policy.rules)
    books = _post(replace(books, settlement=state), postings, policy, closed_to, at, last=True)
    return _attribute(_conclude(books, policy), policy, last=True)


def _meter(books: Books, seen: Observed, policy: Policy) -> Books:
    """Take in all that was seen but the engines' replies: the joules of every device since its last reading."""
    meters, last, named = dict(books.meters), dict(books.last), dict(books.named)
    events: list[IntervalEnergy | Gap] = []
    for reading in (*seen.readings, *_unheard(books, seen)):
        device = reading.device
        meters[device], found = energy.advance(meters.get(device) or energy.MeterState(device), reading)
        events.extend(found)
        last[device] = reading
        if reading.error is None:
            named[device] = reading
    cpu_s = {**books.cpu_s, **seen.cpu_s}
    tariffs = pricing.tariffs(seen.grid, seen.prices)
    books = replace(books, at=seen.at, tariffs=tariffs, cpu_s=cpu_s, meters=meters, last=last, named=named)
    return _book_events(books, events, policy)


def _unheard(books: Books, seen: Observed) -> list[Reading]:
    """Devices that nothing tells of any more: after a minute that is as good as a failed read, at every tick. An
    estimate may have given way to a sensor."""
    told = {r.device for r in seen.readings}
    now_s = seen.at.mono_s
    return [
        Reading(device, seen.at, error=NOT_READ)
        for device, last in books.last.items()
        if device not in told and not last.estimated
        if now_s - last.at.mono_s > energy.GIVE_UP_S or last.error == NOT_READ
    ]


def _book_events(books: Books, events: Sequence[IntervalEnergy | Gap], policy: Policy) -> Books:
    indices = {d: r.index for d, r in books.named.items()}
    energies = [e for e in events if isinstance(e, IntervalEnergy)]
    return replace(
        books,
        ledger=ledger.post_devices(books.ledger, events),
        settlement=settlement.note_energy(books.settlement, energies, policy.rules, indices),
    )


def _note_processes(books: Books, seen: Observed, since_s: float, policy: Policy) -> Settlement:
    """Who used the GPUs of the engines, where the driver told."""
    state = books.settlement
    for reading in seen.readings:
        if reading.processes is not None or reading.instances:
            group = group_of(reading.device, reading.index, policy.rules)
            sm = (
                sharing.sm_by_instance(reading, group, policy.rules.on_instance)
                if reading.instances
                else sharing.sm_by_owner(reading, group, seen.pids, books.homes)
            )
            if sm:
                state = settlement.note_processes(state, group, {who: share * since_s for who, share in sm.items()})
    return state


def _hear(books: Books, reply: EngineSample | EngineFailure) -> Books:
    known = books.works.get(reply.engine) or work.WorkState()
    known, done = work.advance(known, reply)
    books = replace(books, works={**books.works, reply.engine: known}, awaited=books.awaited - {reply.engine})
    if isinstance(reply, EngineFailure):
        return books
    return replace(
        books,
        samples={**books.samples, reply.engine: replace(reply, page=None)},
        settlement=settlement.note_sample(books.settlement, reply, done),
        heard=books.heard if done is None else (*books.heard, done),
        ledger=books.ledger if done is None else ledger.post_work(books.ledger, done),
    )


def _post(
    books: Books, postings: Sequence[Posting], policy: Policy, start: Instant, end: Instant, *, last: bool = False
) -> Books:
    """Postings into the ledger: joules, the node overhead in proportion to them, and all that follows from both.

    The overhead of joules that wait for their owner waits with them.
    """
    now = books.ledger
    for posting in postings:
        now = ledger.post_shares(now, posting)
    posted_j = sum(s.energy_j for posting in postings for s in posting.shares)
    waiting_j = max(0.0, sum(settlement.pending_j(books.settlement).values()))  # sums may end a hair below 0
    open_j = books.overhead_j + policy.site.node_overhead_w * max(0.0, end.mono_s - start.mono_s)
    overhead_j = open_j * posted_j / (posted_j + waiting_j) if posted_j + waiting_j > 0 else open_j
    tally = pricing.Tally(policy.site, books.tariffs)
    for posting in postings:
        by_owner: dict[pricing.Owner, float] = {}
        for s in posting.shares:
            who = (s.engine, s.model, s.use)
            by_owner[who] = by_owner.get(who, 0.0) + s.energy_j
        spent = posting.spent or ((*by_wall(posting.start, posting.end), 1.0),)
        tally.add(spent, by_owner.items(), overhead_j, posted_j)
    if overhead_j > 0 and not posted_j:  # nothing is metered here
        tally.add_overhead(((*by_wall(start, end), 1.0),), pricing.NOBODY, overhead_j)
    entries = tally.entries()
    made_g = amortised.accrue(
        books.embodied_g, embodied(books, policy), _groups(books.named, policy.rules), end.mono_s - start.mono_s
    )
    waiting_g, given = amortised.share_out(made_g, entries, last=last)
    entries = pricing.with_embodied(entries, given, end.wall_s // pricing.BUCKET_S * pricing.BUCKET_S)
    return replace(
        books,
        ledger=ledger.post_entries(now, entries),
        overhead_j=max(0.0, open_j - overhead_j),
        embodied_g=waiting_g,
        entries=(*books.entries, *entries),
        posted=(*books.posted, *postings),
    )


def embodied(books: Books, policy: Policy) -> EmbodiedRates:
    """Grams per second of the devices seen so far; no rates where it is switched off."""
    if policy.embodied is None:
        return EmbodiedRates()
    return embodied_rates([(device, reading.name) for device, reading in books.named.items()], policy.embodied)


def _groups(named: Mapping[Device, Reading], rules: Rules) -> dict[Device, Group]:
    return {
        device: group_of(device, reading.index, rules)
        for device, reading in named.items()
        if device.kind is DeviceKind.GPU
    }


def snapshot(books: Books, policy: Policy, urls: Mapping[str, str] | None = None) -> Snapshot:
    """What is published. Parts' health and the agent's own share are the loop's to add."""
    urls = urls or {}
    engines = []
    rules = _in_view(policy, books, books.named.values()).rules
    for name in sorted(policy.rules.engines):
        s = books.samples.get(name)
        split_by = weigh.in_use(books.settlement.accounts.values(), name, policy.rules)
        engines.append(
            EngineState(
                engine=name,
                kind=s.kind if s else "",
                url=urls.get(name, ""),
                version=s.version if s else "",
                sample_age_s=max(0.0, books.at.mono_s - s.at.mono_s) if s else None,
                prefill_weight=split_by.prefill_weight,
                weight_confidence=split_by.confidence,
                weight_residual=split_by.residual,
                missing=s.missing if s else (),
                shared_by=sharing.ways(books.settlement.accounts, name),
                gpus=places.gpus_of(rules, books.named.values(), name),
                gpus_found=places.found(policy.rules, books.places, name),
            )
        )
    return Snapshot(
        at=books.at,
        ledger=books.ledger,
        devices=tuple(_device_state(d, books) for d in sorted(books.meters) if books.meters[d].booked_to),
        engines=tuple(engines),
        pending_j=_pending(books),
        headlines=books.headlines,
        grid=in_force(books.tariffs.average, books.at.wall_s),
        marginal=in_force(books.tariffs.marginal, books.at.wall_s),
        price=price_in_force(books.tariffs.prices, books.at.wall_s),
        pue=policy.site.pue,
        node_overhead_w=policy.site.node_overhead_w,
        grid_loss=policy.site.grid_loss,
        market_g_per_kwh=policy.site.market_g_per_kwh,
        currency=policy.site.currency,
        embodied_unknown=embodied(books, policy).missing,
        requests=None if books.requests is None else books.requests.totals,
    )


def _pending(books: Books) -> dict[DeviceKind, float]:
    """Per kind, 0 included: a kind that waits for nothing is known to wait for nothing."""
    kinds = {d.kind for d in books.ledger.device_energy_j}
    return dict.fromkeys(sorted(kinds), 0.0) | settlement.pending_j(books.settlement)


def _device_state(device: Device, books: Books) -> DeviceState:
    meter, last, named = books.meters[device], books.last[device], books.named.get(device)
    power_w = last.power_w if last.power_w is not None else meter.mean_power_w
    return DeviceState(
        device=device,
        method=meter.method,
        name=named.name if named else "",
        index=named.index if named else None,
        power_w=power_w if last.error is None else None,
        counter_to_power_ratio=meter.ratio if device.kind is DeviceKind.GPU else None,
    )
