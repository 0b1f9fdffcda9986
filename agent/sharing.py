"""Whose processes ran on a GPU, and how well that is known. Pure functions.

The operating system tells which processes are an engine's, the driver which processes used a GPU. Both may be blind:
a port may be another process's that forwards to the engine, workers may be no children of what listens, a container
may see other process numbers than the driver. So what is not an engine's is a stranger only where every engine of the
GPU was seen at work on it by processes of its own; till then nobody is called a stranger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from agent.accounts import FOREIGN, UNTOLD, Account, By, Group, Rules
from agent.attribution import Cut
from agent.model import Device, IntervalEnergy, Reading

Homes = frozenset[tuple[Device, str]]  # a GPU, and an engine of which a process was seen at work there
Pids = Mapping[str, frozenset[int]]


def homes(known: Homes, readings: Iterable[Reading], pids: Pids) -> Homes:
    """known, and where engines were seen at work now."""
    seen = {
        (r.device, engine)
        for r in readings
        for p in r.processes or ()
        if p.sm > 0
        for engine, own in pids.items()
        if p.pid in own
    }
    return known if seen <= known else known | seen


def sm_by_owner(reading: Reading, group: Group, pids: Pids, known: Homes) -> dict[str, float]:
    """The share of the SMs that each engine of the group and FOREIGN processes used; {}: nobody was asked; UNTOLD
    alone: it cannot be told."""
    if reading.processes is None or not group:
        return {}
    sm = dict.fromkeys((*sorted(group), FOREIGN), 0.0)
    for process in reading.processes:
        owners = [e for e in sorted(group) if process.pid in pids.get(e, ())]
        if len(owners) > 1:
            return {UNTOLD: 1.0}  # one process of two engines: it does not tell them apart
        sm[owners[0] if owners else FOREIGN] += process.sm
    at_home = all((reading.device, e) in known and pids.get(e) for e in group)
    return sm if at_home or sm[FOREIGN] == 0 else {UNTOLD: 1.0}


def sm_by_instance(reading: Reading, group: Group, on_instance: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    """As sm_by_owner(), by how busy the GPU's MIG instances were: shares of all their SMs. An instance that no engine
    is on is a stranger's: nothing of one runs on another."""
    if not group or all(i.active is None for i in reading.instances):
        return {}
    sizes = {i.uuid: i.sms for i in reading.instances}
    if not all(sizes.values()):  # instances come in the same slices of both
        sizes = {i.uuid: i.memory_bytes for i in reading.instances}
    total = sum(sizes.values())
    sm = dict.fromkeys((*sorted(group), FOREIGN), 0.0)
    homeless = set(group)  # an engine on the whole GPU is on some instance, which is not known
    for instance in reading.instances:
        engines = on_instance.get(instance.uuid, ())
        if instance.active is None or len(engines) > 1 or total <= 0:
            return {UNTOLD: 1.0}
        homeless.difference_update(engines)
        sm[engines[0] if engines else FOREIGN] += instance.active * sizes[instance.uuid] / total
    return {UNTOLD: 1.0} if homeless else sm


def work_parts(account: Account) -> tuple[dict[str, float] | None, float]:
    """Whose processes ran while there was work: the engines' parts among themselves (None: not known), and what part
    of the whole was foreign."""
    if UNTOLD in account.sm or not any(account.sm.values()):
        return None, 0.0
    engines = {e: sm for e, sm in account.sm.items() if e != FOREIGN and sm > 0}
    foreign = account.sm.get(FOREIGN, 0.0)
    return engines or None, foreign / (foreign + sum(engines.values()))


def foreign_idle_j(account: Account, seen: Cut, gpus: Sequence[IntervalEnergy]) -> float:
    """What of the time in which no engine worked was strangers' work: all above the engines' floor. While no floor is
    known, the time that strangers' kernels ran, at the mean power."""
    devices = len({i.device for i in gpus})
    if not strangers(account) or not devices:
        return 0.0
    if (floor_w := account.floor.rest_w) is not None:
        return max(0.0, seen.idle_j - floor_w * max(0.0, seen.total_s - seen.busy_s))
    return seen.idle_j * min(1.0, account.sm[FOREIGN] / (devices * seen.total_s)) if seen.total_s > 0 else 0.0


def strangers(account: Account) -> bool:
    """Did any run since the last close? What they used must not pass for the engines' floor."""
    return UNTOLD not in account.sm and account.sm.get(FOREIGN, 0.0) > 0


def known_by(account: Account, group: Group, gpus: Sequence[IntervalEnergy], rules: Rules) -> By | None:
    """How the engines of the group are told apart in a window; one in which nobody ran is as the one before."""
    if not gpus:
        return account.by
    if account.sm and UNTOLD not in account.sm:
        if any(account.sm.values()):
            return By.INSTANCE_SM if group <= rules.instances.keys() else By.SM
        if account.by is not None:
            return account.by
    if len(group) == 1:
        return By.OWN
    return By.MEMORY_TOKENS if group <= rules.instances.keys() else By.TOKENS


def ways(accounts: Mapping[Group, Account], engine: str) -> tuple[By, ...]:
    """How the engine's part is known, over all its groups of GPUs. (): it has none, or none was read yet."""
    return tuple(sorted({a.by for group, a in accounts.items() if engine in group and a.by is not None}))
