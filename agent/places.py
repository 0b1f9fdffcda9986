"""On which GPUs an engine runs that names none: where its processes hold memory. Pure functions.

That makes tensor and data parallel groups without configuration. The operating system tells which processes are an
engine's (by its port), the driver which processes hold memory of a GPU or of a MIG instance. The first sighting counts
at once, since till then the engine was only taken to be everywhere; another place counts when LOOKS looks in a row have
seen the engine there and nowhere else. An engine that is seen nowhere stays where it was: its processes may be other
ones by now, or out of sight.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from agent.accounts import Rules, group_of
from agent.model import DeviceKind, EngineGpu, Instant, Reading

LOOKS = 3  # at the same other place, in a row


class Found(StrEnum):
    """How it is known on which GPUs an engine runs."""

    CONFIG = "config"  # the configuration names them, or says that it is all
    PROCESSES = "processes"  # its processes hold memory there
    NOT_SEEN = "not_seen"  # nothing tells: it is taken to be on every GPU


@dataclass(frozen=True, slots=True)
class Place:
    """Where an engine is, and where it may be soon. gpus, coming: UUIDs of GPUs or MIG instances, in order; (): not
    known."""

    gpus: tuple[str, ...] = ()
    since: Instant | None = None  # when it was first seen there; None: as far back as anybody knows
    coming: tuple[str, ...] = ()
    coming_since: Instant | None = None
    looks: int = 0  # in a row that saw it at `coming`


Places = Mapping[str, Place]


def look(
    places: Places, readings: Iterable[Reading], pids: Mapping[str, frozenset[int]], rules: Rules, at: Instant
) -> Places:
    """The places of the engines that name no GPU, after one more look at who holds memory; unchanged where no reading
    tells of that."""
    if not rules.finds:
        return places
    held = {uuid: own for r in readings if r.device.kind is DeviceKind.GPU for uuid, own in _held(r) if own is not None}
    if not held:
        return places
    out = {name: place for name, place in places.items() if name in rules.finds}
    for engine in sorted(rules.finds):
        own = pids.get(engine, frozenset())
        before = out.get(engine, Place())
        seen = {uuid for uuid, there in held.items() if own.intersection(there)}
        if seen:
            # A GPU that told nothing this time may still be its.
            out[engine] = _seen(before, tuple(sorted(seen | {g for g in before.gpus if g not in held})), at)
        elif before.looks:
            out[engine] = Place(before.gpus, before.since)
    return places if out == places else out


def _held(reading: Reading) -> list[tuple[str, tuple[int, ...] | None]]:
    if reading.instances:
        return [(i.uuid, i.residents) for i in reading.instances]
    return [(reading.device.key, reading.residents)]


def _seen(before: Place, there: tuple[str, ...], at: Instant) -> Place:
    if there == before.gpus:
        return before if not before.looks else Place(before.gpus, before.since)
    if not before.gpus:
        return Place(there)
    looks, since = (before.looks + 1, before.coming_since) if there == before.coming else (1, at)
    return Place(there, since) if looks >= LOOKS else replace(before, coming=there, coming_since=since, looks=looks)


def placed(rules: Rules, places: Places, answered: Collection[str] = ()) -> Rules:
    """The rules with the GPUs of engines that name none, where they were seen. answered: the engines that ever told
    anything. One that did not, and is seen nowhere while others are, does not run: it takes part in nobody's GPUs."""
    known = {e: p.gpus for e, p in places.items() if p.gpus and e in rules.finds and e in rules.engines}
    if not known:
        return rules
    absent = {e: () for e in rules.finds if e not in known and e not in answered}
    return replace(rules, engines={**rules.engines, **known, **absent})


def found(rules: Rules, places: Places, engine: str) -> Found:
    if engine not in rules.finds:
        return Found.CONFIG
    return Found.PROCESSES if places.get(engine, Place()).gpus else Found.NOT_SEEN


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
    return [
        f"engine {engine}: on {', '.join(place.gpus)}, where its processes hold memory"
        for engine, place in now.items()
        if place.gpus != before.get(engine, Place()).gpus
    ]


def moved_since_s(before: Places, now: Places, engine: str) -> float | None:
    """Since when (mono_s) an engine is elsewhere; None: it is not. Below all times: where it was before was a guess."""
    old, new = before.get(engine, Place()), now.get(engine, Place())
    if old.gpus == new.gpus:
        return None
    return float("-inf") if new.since is None else new.since.mono_s
