"""MIG instances: which GPU each is a part of, and how much of its memory. Pure functions.

The driver knows the energy of a whole GPU alone, so an engine on an instance shares its GPU. Where it tells how busy
each instance was, work goes by busy SMs (agent/sharing.py): no measure that software can read explains the power of all
loads better (Vamja et al., "On the Partitioning of GPU Power among Multi-Instances", arXiv 2501.17752). Where it does
not, a token weighs as much as the memory of the instance that it was made on: a decode step reads the model's weights,
and an instance is chosen by their size. While nothing runs the GPU's power is its engines' by the memory that their
instances hold, also of instances that nobody uses: as on a GPU without MIG, the floor is of whoever keeps it loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from agent.accounts import Rules
from agent.model import Reading

PREFIX = "MIG-"  # of an instance's UUID


def is_instance(gpu: str | int) -> bool:
    return isinstance(gpu, str) and gpu.startswith(PREFIX)


def in_view(rules: Rules, readings: Iterable[Reading]) -> Rules:
    """The rules with the GPUs in the place of the instances that are part of them. One that no reading tells of stays
    as it is: it names no GPU."""
    if not any(is_instance(g) for gpus in rules.engines.values() for g in gpus or ()):
        return rules
    parts = {i.uuid: (r.device.key, i.memory_bytes) for r in readings for i in r.instances}
    engines = {
        engine: None if gpus is None else tuple(dict.fromkeys(parts[g][0] if g in parts else g for g in gpus))
        for engine, gpus in rules.engines.items()
    }
    on = {e: tuple(g for g in gpus or () if g in parts) for e, gpus in rules.engines.items()}
    memory = {e: tuple(parts[g][1] for g in instances) for e, instances in on.items()}
    named = dict.fromkeys(g for instances in on.values() for g in instances)
    return replace(
        rules,
        engines=engines,
        instances={e: sizes for e, sizes in memory.items() if sum(sizes) > 0},
        on_instance={g: tuple(e for e, instances in on.items() if g in instances) for g in named if is_instance(g)},
    )


def token_sizes(instances: Mapping[str, tuple[float, ...]], engines: Collection[str]) -> dict[str, float]:
    """What a token of each engine weighs, relative to the others': the mean memory of its instances. 1 for all where
    one of them is on no instance that is known."""
    if not all(e in instances for e in engines):
        return dict.fromkeys(engines, 1.0)
    largest = max((max(instances[e]) for e in engines), default=1.0)
    return {e: sum(instances[e]) / len(instances[e]) / largest for e in engines}


def parts_held(instances: Mapping[str, tuple[float, ...]], engines: Collection[str]) -> dict[str, float]:
    """What each engine holds of what they hold together: by memory, evenly where that is not known of all."""
    if not all(e in instances for e in engines):
        return dict.fromkeys(engines, 1.0)
    return {e: sum(instances[e]) for e in engines}
