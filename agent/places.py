"""On which GPUs an engine runs that names none: where its processes hold memory. Pure functions.

That makes tensor and data parallel groups without configuration. The operating system tells which processes are an
engine's (by its port), the driver which processes hold memory of a GPU or of a MIG instance. The first sighting counts
at once, since till then the engine was only taken to be everywhere; another place counts when LOOKS looks in a row have
seen the engine there and nowhere else. An engine that is seen nowhere stays where it was: its processes may be other
ones by now, or out of sight.

An engine whose processes are seen and have no GPU open computes on the processor, or what listens only forwards to it,
as in front of a container. In both cases it is on no GPU but those that hold processes of no engine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from agent.accounts import Rules, group_of
from agent.model import DeviceKind, EngineGpu, Instant, Reading

LOOKS = 3  # at the same other place, in a row
LEFT_LOOKS = (
    15  # likewise, where it is told by other processes alone: strangers come and go, and prices are learned anew
)


class Found(StrEnum):
    """How it is known on which GPUs an engine runs."""

    CONFIG = "config"  # the configuration names them, or says that it is all
    PROCESSES = "processes"  # its processes hold memory there
    UNCLAIMED = "unclaimed"  # its processes have no GPU open: it is left where processes are that are no engine's
    NOT_SEEN = "not_seen"  # nothing tells: it is taken to be on every GPU


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine is, and where it may be soon. gpus, coming: UUIDs of GPUs or MIG instances, in order; (): not
    known, but of an engine that is where processes are unclaimed: on none."""

    gpus: tuple[str, ...] = ()
    since: Instant | None = None  # when it was first seen there; None: as far back as anybody knows
    coming: tuple[str, ...] = ()
    coming_since: Instant | None = None
    looks: int = 0  # in a row that saw it at `coming`
    unclaimed: bool = False  # its own processes have no GPU open

    @property
    def known(self) -> bool:
        return bool(self.gpus) or self.unclaimed


Places = Mapping[str, Place]
NEVER: Mapping[str, Instant] = {}


def look(
    places: Places,
    readings: Iterable[Reading],
    pids: Mapping[str, frozenset[int]],
    rules: Rules,
    at: Instant,
    answered: Mapping[str, Instant] = NEVER,
) -> Places:
    """The places of the engines that name no GPU, after one more look at who holds memory; unchanged where no reading
    tells of that. pids: by engine whose processes are seen; none: these have no GPU open. answered: when each engine
    last told anything: one that starts holds no memory yet."""
    if not rules.finds:
        return places
    gpus = [r for r in readings if r.device.kind is DeviceKind.GPU]
    listed = dict(held for r in gpus for held in _held(r))
    held = {uuid: there for uuid, there in listed.items() if there is not None}
    if not held:
        return places
    failing = any(r.error is not None for r in gpus)
    unclaimed = _unclaimed(places, gpus, pids, rules)
    out = {name: place for name, place in places.items() if name in rules.finds}
    for engine in sorted(rules.finds):
        own, before = pids.get(engine), out.get(engine, Place())
        seen = {uuid for uuid, there in held.items() if own and own.intersection(there)}
        if seen:
            # A GPU that told nothing this time may still be its; an instance that is not there any more is not.
            silent = {g for g in before.gpus if g not in held and (g in listed or failing)}
            out[engine] = _seen(before, tuple(sorted(seen | silent)), at)
        elif own is None or failing or len(held) < len(listed) or (before.gpus and not before.unclaimed):
            if before.looks:
                out[engine] = _settled(before)
        elif not own:
            out[engine] = _left(before, unclaimed, at, answered.get(engine))
        elif before != Place():
            out[engine] = Place()  # it has a GPU open, and nobody knows which
    return places if out == places else out


def _unclaimed(
    places: Places, gpus: Iterable[Reading], pids: Mapping[str, frozenset[int]], rules: Rules
) -> tuple[str, ...]:
    """Where processes hold memory that are no engine's: nor those of an engine that is there and of which none is seen
    now, since it starts, or is in a container."""
    claimed = frozenset[int]().union(*pids.values())
    unseen = [
        places.get(e, Place()).gpus if e in rules.finds else named
        for e, named in rules.engines.items()
        if not pids.get(e) and not places.get(e, Place()).unclaimed
    ]
    return tuple(
        sorted(
            uuid
            for r in gpus
            for uuid, there in _held(r)
            if not claimed.issuperset(there or ())
            if not any(on is None or {uuid, r.device.key, r.index}.intersection(on) for on in unseen)
        )
    )


def _held(reading: Reading) -> list[tuple[str, tuple[int, ...] | None]]:
    if reading.instances:
        return [(i.uuid, i.residents) for i in reading.instances]
    return [(reading.device.key, reading.residents)]


def _settled(place: Place) -> Place:
    return Place(place.gpus, place.since, unclaimed=place.unclaimed)


def _seen(before: Place, there: tuple[str, ...], at: Instant) -> Place:
    """By its processes."""
    if there == before.gpus:
        return replace(_settled(before), unclaimed=False)
    if not before.known:
        return Place(there)
    coming = _coming(before, there, at)
    return Place(there, coming.coming_since) if coming.looks >= LOOKS else coming


def _left(before: Place, there: tuple[str, ...], at: Instant, answered: Instant | None) -> Place:
    """By what nobody else claims. Counts of an engine that answered after it was first seen so."""
    if before.unclaimed and there == before.gpus:
        return _settled(before)
    coming = _coming(before, there, at)
    first = coming.coming_since
    if (
        coming.looks < (LEFT_LOOKS if before.known else LOOKS)
        or answered is None
        or first is None
        or answered.mono_s < first.mono_s
    ):
        return coming
    return Place(there, first if before.known else None, unclaimed=True)


def _coming(before: Place, there: tuple[str, ...], at: Instant) -> Place:
    again = before.looks > 0 and there == before.coming
    looks, since = (before.looks + 1, before.coming_since) if again else (1, at)
    return replace(before, coming=there, coming_since=since, looks=looks)


def placed(rules: Rules, places: Places, answered: Collection[str] = ()) -> Rules:
    """The rules with the GPUs of engines that name none, where they were seen. answered: the engines that ever told
    anything. One that did not, and is seen nowhere while others are, does not run: it takes part in nobody's GPUs."""
    known = {e: p.gpus for e, p in places.items() if p.known and e in rules.finds and e in rules.engines}
    if not known:
        return rules
    absent = {e: () for e in rules.finds if e not in known and e not in answered}
    return replace(rules, engines={**rules.engines, **known, **absent})


def found(rules: Rules, places: Places, engine: str) -> Found:
    if engine not in rules.finds:
        return Found.CONFIG
    place = places.get(engine, Place())
    if place.unclaimed:
        return Found.UNCLAIMED
    return Found.PROCESSES if place.gpus else Found.NOT_SEEN


def gpus_of(rules: Rules, readings: Iterable[Reading], engine: str) -> tuple[EngineGpu, ...]:
    """By rules in view: each GPU of the engine, or each MIG instance of it that it is on."""
    out: list[EngineGpu] = []
    for r in readings:
        if r.device.kind is DeviceKind.GPU and engine in group_of(r.device, r.index, rules):
            on = [i.uuid for i in r.instances if engine in rules.on_instance.get(i.uuid, ())]
            out.extend(EngineGpu(r.device.key, uuid) for uuid in on or [""])
    return tuple(sorted(out))


def said(before: Places, now: Places) -> list[str]:
    """For the log, what changed."""
    return [_said(engine, place) for engine, place in now.items() if _differ(before.get(engine, Place()), place)]


def _said(engine: str, place: Place) -> str:
    on = ", ".join(place.gpus)
    if not place.known:
        return f"engine {engine}: on every GPU, since nothing tells where"
    if not place.unclaimed:
        return f"engine {engine}: on {on}, where its processes hold memory"
    where = f"on {on}, where processes hold memory that are no engine's" if on else "on none"
    return f"engine {engine}: its processes have no GPU open; {where}"


def _differ(one: Place, other: Place) -> bool:
    return (one.known, one.gpus) != (other.known, other.gpus)


def moved_since_s(before: Places, now: Places, engine: str) -> float | None:
    """Since when (mono_s) an engine is elsewhere; None: it is not. Below all times: where it was before was a guess."""
    old, new = before.get(engine, Place()), now.get(engine, Place())
    if not _differ(old, new):
        return None
    return float("-inf") if new.since is None else new.since.mono_s
