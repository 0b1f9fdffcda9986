"""What outlives the agent, and how its next start goes on from it. Pure: values in, books out.

A restart is one long tick: where the machine did not restart meanwhile, the counters of the hardware and of the
engines ran on, and their next readings carry what was used and done in between, past the same gates as ever. After
a restart of the machine, what waited is booked to its owners, and the time between is a gap; the prices that were
learned on its hardware hold on, where it is the same hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent import books, headline, requests
from agent.accounts import Account, Group, Rules, Settlement, group_of
from agent.books import Books, Policy
from agent.energy import MeterState
from agent.instances import in_view
from agent.learn import Fit
from agent.model import Device, DeviceKind, Gap, Instant, Ledger, Reading, RequestTotals
from agent.places import Places
from agent.pricing import Tariffs
from agent.request_totals import EMISSIONS_BOUNDS_G, ENERGY_BOUNDS_J
from agent.work import WorkState

NOTHING_TOLD = Tariffs()
MACHINE_RESTARTED = "the machine restarted"
DRIVER_CHANGED = "the driver changed"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a counter's value is relative to. Where one differs, the difference of two values means nothing."""

    boot_id: str = ""  # of the kernel: CPU and memory counters, and the monotonic clock
    gpu_driver: str = ""  # version; "": none is loaded, or it cannot be told


@dataclass(frozen=True, slots=True)
class Memory:
    """The state of the books at one moment, without their totals."""

    at: Instant
    identity: Identity
    settlement: Settlement
    meters: Mapping[Device, MeterState] = field(default_factory=dict)
    last: Mapping[Device, Reading] = field(default_factory=dict)
    named: Mapping[Device, Reading] = field(default_factory=dict)
    works: Mapping[str, WorkState] = field(default_factory=dict)
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    overhead_j: float = 0.0
    embodied_g: Mapping[Group, float] = field(default_factory=dict)
    requests: RequestTotals | None = None  # None: no spans were received
    places: Places = field(default_factory=dict)


def memory_of(state: Books, identity: Identity) -> Memory:
    return Memory(
        state.at,
        identity,
        state.settlement,
        state.meters,
        state.last,
        state.named,
        state.works,
        state.cpu_s,
        state.overhead_j,
        state.embodied_g,
        None if state.requests is None else state.requests.totals,
        state.places,
    )


def resume(
    known: Ledger,
    memory: Memory | None,
    at: Instant,
    identity: Identity,
    policy: Policy,
    tariffs: Tariffs = NOTHING_TOLD,
    readings: Sequence[Reading] = (),
) -> Books:
    """The books as this start of the agent takes them up. memory None: only the totals are known. tariffs: what is
    known now, for energy that is booked before the first tick. readings: what hardware there is now."""
    fresh = replace(books.begin(at, policy), ledger=known, tariffs=tariffs)
    if memory is None:
        return _from_here(fresh, policy)
    fresh = replace(fresh, requests=_requests(memory.requests, at, policy))
    old = replace(
        fresh,
        at=memory.at,
        settlement=memory.settlement,
        meters=memory.meters,
        last=memory.last,
        named=memory.named,
        works=memory.works,
        cpu_s=memory.cpu_s,
        overhead_j=memory.overhead_j,
        embodied_g=memory.embodied_g,
        places=memory.places,
    )
    old = _without_gone(old)
    same_boot = memory.identity.boot_id == identity.boot_id != "" and memory.at.mono_s <= at.mono_s
    if not same_boot:
        return _from_here(_after_reboot(old, fresh, at, policy, readings), policy)
    if memory.identity.gpu_driver != identity.gpu_driver:
        old = _forget(old, at, DRIVER_CHANGED)
    awaited = frozenset(policy.rules.engines) & frozenset(memory.works)
    hold_to_s = at.mono_s + max(2 * policy.rules.window_s, books.FIRST_PAGE_S)
    return _from_here(replace(old, awaited=awaited, hold_to_s=hold_to_s), policy)


def _requests(known: RequestTotals | None, at: Instant, policy: Policy) -> requests.Requests | None:
    """The sums over requests go on; the requests that waited for their windows are gone with the run that knew them.
    Groups by other attributes than today's say nothing any more."""
    if policy.requests is None:
        return None
    begun = requests.begin(at, policy.requests)
    if known is None:
        return begun
    same = known.group_by == begun.totals.group_by
    kept = replace(
        known,
        energy={who: h for who, h in known.energy.items() if h.bounds == ENERGY_BOUNDS_J},
        emissions={who: h for who, h in known.emissions.items() if h.bounds == EMISSIONS_BOUNDS_G},
        group_by=begun.totals.group_by,
        groups=known.groups if same else {},
        clock_shift_s={},
        groups_gco2e=known.groups_gco2e if same else {},
    )
    return replace(begun, totals=kept)


def _without_gone(state: Books) -> Books:
    """A device that nothing told of at the end is another's by now, or none's: it is not looked for in this run."""
    gone = {d for d, last in state.last.items() if last.error == books.NOT_READ}
    if not gone:
        return state
    return replace(
        state,
        meters={d: m for d, m in state.meters.items() if d not in gone},
        last={d: r for d, r in state.last.items() if d not in gone},
        named={d: r for d, r in state.named.items() if d not in gone},
    )


def _from_here(state: Books, policy: Policy) -> Books:
    """Headline ratios are of this run: what was before is where they begin."""
    now = headline.sums(state.ledger)
    pasts = tuple(
        replace(past, points=((state.at.mono_s, now),)) for past in headline.begin(policy.windows, state.at.mono_s)
    )
    return replace(state, pasts=pasts)


def _after_reboot(old: Books, fresh: Books, at: Instant, policy: Policy, readings: Sequence[Reading]) -> Books:
    """What waited goes to its owners; the monotonic clock, the meters and their counters begin anew. Engines may run
    elsewhere: their token counters are compared as if nothing had happened, and tell themselves if they restarted."""
    ended = books.finish(old, policy)
    lost = [Gap(d, Instant(at.mono_s, m.at.wall_s), at, MACHINE_RESTARTED) for d, m in old.last.items()]
    # A wall clock that was set back meanwhile must not put them into the future, where no page is later than they.
    shift_s = at.mono_s - max(0.0, at.wall_s - old.at.wall_s) - old.at.mono_s
    works = {name: replace(w, at=_moved(w.at, shift_s)) for name, w in old.works.items()}
    fits = _fits(ended, policy.rules, readings)
    return replace(
        fresh,
        settlement=replace(fresh.settlement, accounts={group: Account(at, fit=fit) for group, fit in fits.items()}),
        ledger=books.post_gaps(ended.ledger, [_as_long(g, at) for g in lost]),
        works=works,
        entries=ended.entries,
        overhead_j=ended.overhead_j,
    )


def _fits(ended: Books, rules: Rules, readings: Sequence[Reading]) -> dict[Group, Fit]:
    """The learned prices of groups whose hardware is as it was. The next block follows none that was before."""
    before, now = _hardware(ended.named.values(), rules), _hardware(readings, rules)
    return {
        group: replace(account.fit, last=(), quiet=True)
        for group, account in ended.settlement.accounts.items()
        if account.fit.blocks > 0 and group <= rules.engines.keys() and before(group) == now(group) != set()
    }


def _hardware(readings: Iterable[Reading], rules: Rules) -> Callable[[Group], set[object]]:
    """What tells the hardware of a group: its GPUs, which have identities, and their parts. Where it has none, the
    processors, by their limits: "package-0" is any machine's."""
    good = [r for r in readings if r.error is None]
    view = in_view(rules, good)
    gpus = [r for r in good if r.device.kind is DeviceKind.GPU]
    processors = {(r.device, r.name, r.max_power_w) for r in good if r.device.kind is not DeviceKind.GPU}

    def of(group: Group) -> set[object]:
        here = [r for r in gpus if group_of(r.device, r.index, view) == group]
        return {(r.device, r.name, tuple(i.uuid for i in r.instances)) for r in here} or set(processors)

    return of


def _as_long(gap: Gap, at: Instant) -> Gap:
    """As long by the monotonic clock as by the wall clock, which alone went on."""
    length_s = max(0.0, at.wall_s - gap.start.wall_s)
    return replace(gap, start=Instant(at.mono_s - length_s, gap.start.wall_s))


def _moved(instant: Instant | None, shift_s: float) -> Instant | None:
    return None if instant is None else Instant(instant.mono_s + shift_s, instant.wall_s)


def _forget(state: Books, at: Instant, why: str) -> Books:
    """GPU counters began anew: their meters, too. The time between is a gap."""
    gone = {d for d in state.meters if d.kind is DeviceKind.GPU}
    gaps = [Gap(d, booked_to, at, why) for d in gone if (booked_to := state.meters[d].booked_to) is not None]
    return replace(
        state,
        meters={d: m for d, m in state.meters.items() if d not in gone},
        last={d: r for d, r in state.last.items() if d not in gone},
        ledger=books.post_gaps(state.ledger, gaps),
    )
