"""What a second of each engine's kernels draws, where the driver tells whose ran: pure functions.

The SM time of processes tells for how long each engine of a shared GPU worked, not how hard: a prompt draws twice what
a step of a small batch does. Energy above the floor is regressed on the engines' SM time, with exponential forgetting
and a pull towards the power that is the same for all, which is what is known before the first windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from agent.nnls import nnls

HALF_LIFE_SM_S = 300.0  # SM-seconds
PULL = 0.01  # of an engine's sum of squares: towards the common power
MAX_ENGINES = 8  # of one GPU that are told apart
GONE = 1e-9  # of all sums of squares: an engine with less did nothing for 30 half-lives, and is begun anew
LEAST = 0.2  # of the common power; no engine's kernels draw less

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Powers:
    """Forgetting sums over windows. A window weighs by one over its SM-seconds: its error goes with its size."""

    energy_js: Mapping[str, float] = field(default_factory=dict)  # joules times SM-seconds, by engine
    time_s2: Mapping[str, float] = field(default_factory=dict)  # seconds times SM-seconds, by engine
    sm_s2: Mapping[Pair, float] = field(default_factory=dict)  # SM-seconds of two engines, multiplied
    energy_j: float = 0.0
    time_s: float = 0.0
    sm_s: float = 0.0  # of all engines

    def plus(self, sm_s: Mapping[str, float], energy_j: float, time_s: float) -> Powers:
        """With a window in which these engines, and nobody else, ran. sm_s: their SM-seconds, by engine."""
        total_s = sum(sm_s.values())
        names = sorted({*self._remembered, *sm_s})
        if total_s <= 0 or len(names) > MAX_ENGINES:
            return self
        keep, size = 0.5 ** (total_s / HALF_LIFE_SM_S), 1.0 / total_s
        part = {e: size * sm_s.get(e, 0.0) for e in names}
        return Powers(
            MappingProxyType({e: keep * self.energy_js.get(e, 0.0) + part[e] * energy_j for e in names}),
            MappingProxyType({e: keep * self.time_s2.get(e, 0.0) + part[e] * time_s for e in names}),
            MappingProxyType(
                {(a, b): keep * self.sm_s2.get((a, b), 0.0) + part[a] * sm_s.get(b, 0.0) for a in names for b in names}
            ),
            keep * self.energy_j + energy_j,
            keep * self.time_s + time_s,
            keep * self.sm_s + total_s,
        )

    @property
    def _remembered(self) -> list[str]:
        """The engines of which something is left. The power of what is hardly there would be the least, not the
        common one."""
        squares = {e: self.sm_s2.get((e, e), 0.0) for e in self.energy_js}
        least = GONE * sum(squares.values())
        return [e for e, s2 in squares.items() if s2 > least]

    def above_w(self, floor_w: float) -> dict[str, float]:
        """Watts above the floor while an engine's kernels run, by engine; {}: nothing was seen."""
        mean_w = (self.energy_j - floor_w * self.time_s) / self.sm_s if self.sm_s > 0 else 0.0
        if mean_w <= 0:
            return {}
        names = sorted(self.energy_js)
        gram = [[self.sm_s2.get((a, b), 0.0) * (1.0 + PULL * (a == b)) for b in names] for a in names]
        right = [
            self.energy_js[e] - floor_w * self.time_s2.get(e, 0.0) + PULL * self.sm_s2.get((e, e), 0.0) * mean_w
            for e in names
        ]
        return {e: max(w, LEAST * mean_w) for e, w in zip(names, nnls(gram, right), strict=True)}


def by_power(owners: Mapping[str, float], powers: Powers, floor_w: float | None) -> dict[str, float]:
    """The engines' parts of the work: their SM time by what a second of it draws, the floor included. owners: their SM
    time in any unit. Their SM time alone while the floor or the power of one of them is not known: on a GPU that never
    rests one works more whenever the other works less, and what each does then hides what each draws."""
    above_w = {} if floor_w is None else powers.above_w(floor_w)
    if floor_w is None or not owners.keys() <= above_w.keys():
        return dict(owners)
    return {e: sm * (floor_w + above_w[e]) for e, sm in owners.items()}
