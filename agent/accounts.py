"""What settlement remembers: the books of each group of engines, and what each engine has told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent.attribution import Floor, Owner
from agent.done import Block, Who
from agent.learn import Fit, Learned
from agent.model import Device, DeviceKind, Instant, IntervalEnergy, Spent, Work
from agent.powers import Powers
from agent.timeline import by_wall

Group = frozenset[str]  # the names of the engines that share devices; empty: nobody's
Kinds = dict[DeviceKind, float]
FOREIGN = ""  # in a table by engine: processes that are no engine's
UNTOLD = "\0"  # likewise: time in which it was not known whose processes ran


class By(StrEnum):
    """How an engine's part of its GPUs' joules is known."""

    OWN = "own"  # no other engine is configured on them; whether others use them is not known
    SM = "sm"  # by the SM time of processes; what strangers used is foreign
    INSTANCE_SM = "instance_sm"  # by the SM time of MIG instances; what those of no engine used is foreign
    TOKENS = "tokens"  # by weighted tokens
    MEMORY_TOKENS = "memory_tokens"  # likewise, each times the memory of the MIG instance that it was made on


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about attribution. gpus: None means every GPU; entries are UUIDs or indices.
    instances, on_instance: what agent.instances.in_view() knows of MIG instances. finds: the engines that name no GPU,
    so that agent.places finds theirs."""

    engines: Mapping[str, tuple[str | int, ...] | None] = field(default_factory=dict)
    prefill_weight: float | None = None  # of a generated token; None: learned
    node_shared: bool = True
    max_pending_s: float = 60.0
    window_s: float = 5.0
    taught: Mapping[Who, Learned] = field(
        default_factory=dict
    )  # what the spans of an engine's requests taught of a model
    instances: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # by engine: their memory, bytes
    on_instance: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by instance: the engines on it
    finds: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Work energy of a group whose tokens have not been booked yet. owners: the engines' parts of it, where the
    driver told whose processes ran; None: by their tokens."""

    since: Instant
    until: Instant
    energy_j: Mapping[DeviceKind, float]
    owners: Mapping[str, float] | None = None
    spent: tuple[Spent, ...] = ()


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
    sm: Mapping[str, float] = field(default_factory=dict)  # SM-seconds by engine, FOREIGN, UNTOLD since the last close
    block: Block = field(default_factory=Block)  # what was measured and done since waiting began
    gathered: Block = field(default_factory=Block)  # released, not yet learned from
    fit: Fit = field(default_factory=Fit)
    by: By | None = None  # how its engines were told apart at the last close; None: it has no GPU
    moved: bool = False  # its GPUs changed since waiting began: what was measured is not learned from
    powers: Powers = field(default_factory=Powers)  # of its engines' kernels


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


def group_of(device: Device, index: int | None, rules: Rules) -> Group:
    """The engines that use a GPU."""
    return frozenset(
        name
        for name, gpus in rules.engines.items()
        if gpus is None or device.key in gpus or (index is not None and index in gpus)
    )


def by_kind(intervals: Iterable[IntervalEnergy]) -> Kinds:
    """Joules of the intervals per device kind."""
    out: Kinds = {}
    for i in intervals:
        out[i.device.kind] = out.get(i.device.kind, 0.0) + i.energy_j
    return out


def spent(intervals: Iterable[IntervalEnergy]) -> tuple[Spent, ...]:
    """When the joules of the intervals flowed, by the wall clock: what prices them."""
    return tuple((*by_wall(i.start, i.end), i.energy_j) for i in intervals if i.energy_j > 0)
