"""For how long requests were served between two samples that do not show it: pure functions.

A request that is shorter than the time between two readings of a GPU fills none of them, so that no power tells how
long it took. Engines tell: the seconds that each request was worked on, added up, when it ends. Of n requests with S
seconds wholly within a time T, each anywhere in it, cover() has the seconds that are covered in the mean: S for one,
and near T * (1 - exp(-S / T)) for many (the busy time of an M/G/infinity queue; Takacs, Introduction to the Theory of
Queues, 1962, chapter 3).

Requests that come one after the other overlap less, those that slow each other down more. That shows in how many run
at each sample at which any do: in the mean as many as S is longer than the time covered (Little's law). So over many
samples the energy above the floor tells the power of serving, and with it the time served where nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.model import ModelWork, Work

POWER_SPREAD = 0.15  # of the power with requests running: how far one time's is off the mean, typically
NO_OVERLAP_S2 = 1e-9  # what rounding leaves
CLEARLY = 0.02  # of the floor: less above it is no power to tell a time by
LOST = 0.02  # of requests, begun but never ended: their seconds are not told
HALF_LIFE_S = 300.0  # of served time
SAMPLES = 10.0  # of what runs, that count as much as the formula for requests that come by chance
UNCOUNTED = 2.0  # requests there were, where the engine does not count them


@dataclass(frozen=True, slots=True)
class Served:
    """What engines told of the requests that ended within a time."""

    seconds: float  # of each request by itself, added up
    requests: float

    @property
    def mean_s(self) -> float:
        return self.seconds / self.requests if self.requests > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Power:
    """Sums over the recent past of times of which engines tell how long they served."""

    energy_j: float = 0.0
    time_s: float = 0.0
    told_s: float = 0.0
    cover_s: float = 0.0  # of it, as covered by requests that come by chance
    samples: float = 0.0  # at which requests ran
    ran: float = 0.0  # requests at these

    @property
    def crowd(self) -> float:
        """Requests running at a time, while any run."""
        by_chance = self.told_s / self.cover_s if self.cover_s > 0 else 1.0
        return max(1.0, (self.ran + SAMPLES * by_chance) / (self.samples + SAMPLES))

    @property
    def overlap(self) -> float:
        """How much requests overlap, of what they would if they came by chance."""
        by_chance = 1.0 - self.cover_s / self.told_s if self.told_s > 0 else 0.0
        return (1.0 - 1.0 / self.crowd) / by_chance if by_chance > 0 else 1.0

    def above_w(self, idle_w: float | None) -> float | None:
        """The mean power above the floor with requests served; None: not known yet."""
        if idle_w is None or self.told_s <= 0:
            return None
        watts = (self.energy_j - idle_w * self.time_s) * self.crowd / self.told_s
        return watts if watts > CLEARLY * idle_w else None

    def plus(self, other: Power) -> Power:
        keep = 0.5 ** (other.cover_s / HALF_LIFE_S)
        return Power(
            keep * self.energy_j + other.energy_j,
            keep * self.time_s + other.time_s,
            keep * self.told_s + other.told_s,
            keep * self.cover_s + other.cover_s,
            keep * self.samples + other.samples,
            keep * self.ran + other.ran,
        )


def served_of(works: Iterable[Work | None]) -> Served | None:
    """None: an engine worked and does not tell its seconds."""
    seconds = requests = 0.0
    for m in (m for w in works if w is not None for m in w.models.values()):
        ended = sum(m.requests.values())
        if not _worked(m, ended):
            continue
        if m.inference_s is None:
            return None
        seconds += m.inference_s
        if m.inference_s > 0:
            counts = m.requests or m.first_tokens is not None
            requests += max(1.0, ended or m.first_tokens or 0.0) if counts else UNCOUNTED
    return Served(seconds, requests)


def all_told(works: Iterable[Work | None]) -> bool:
    """Did all requests that began end too? Of those that were given up no seconds are told."""
    for m in (m for w in works if w is not None for m in w.models.values()):
        ended = sum(m.requests.values())
        if _worked(m, ended) and not m.inference_s:
            return False
        if m.requests and m.first_tokens is not None and abs(m.first_tokens - ended) > LOST * m.first_tokens:
            return False
    return True


def _worked(m: ModelWork, ended: float) -> bool:
    return (m.prompt_computed or 0.0) + (m.generated or 0.0) + (m.inference_s or 0.0) + ended > 0


def cover(served: Served, time_s: float) -> float:
    """Seconds of time_s that requests wholly within it cover in the mean, if each is as long and may be anywhere."""
    if time_s <= 0 or served.seconds <= 0:
        return 0.0
    n = max(1.0, served.requests)
    each_s = min(time_s, served.seconds / n)
    room_s = time_s - each_s  # where each may begin
    if room_s <= 0:
        return time_s
    # A moment is covered by a request that began within each_s before it; near the ends fewer can have.
    end_s = min(each_s, room_s)
    free = 1.0 - end_s / room_s
    ends_s: float = 2 * (end_s - room_s / (n + 1) * (1 - free ** (n + 1)))
    middle_s: float = (time_s - 2 * end_s) * (1 - free**n)
    return min(time_s, served.seconds, ends_s + middle_s)


def power_of(served: Served, time_s: float, energy_j: float, works: Iterable[Work | None]) -> Power:
    """What one time adds to the sums."""
    ran = sum(w.running_end or 0.0 for w in works if w is not None)
    return Power(energy_j, time_s, served.seconds, cover(served, time_s), float(ran > 0), ran)


def by_both(served: Served, time_s: float, above_j: float, power: Power, idle_w: float) -> tuple[float, float]:
    """Seconds covered by requests wholly within time_s, from what was told and from the energy above the floor, each
    by how well it knows, and their variance. Never more than was told, nor less than one request took in the mean."""
    most_s = min(time_s, served.seconds)
    overlap_s = (most_s - cover(served, time_s)) * power.overlap
    above_w = power.above_w(idle_w)
    var_s2 = overlap_s * served.mean_s  # an overlap, where there is one, is a good part of a request
    if var_s2 <= NO_OVERLAP_S2:
        return most_s, 0.0
    told, seen = 1 / var_s2, 0.0
    told_s = max(served.mean_s, most_s - overlap_s)
    if above_w is not None:
        seen_s = min(time_s, above_j / above_w)
        seen = 1 / max(1e-9, POWER_SPREAD * seen_s) ** 2
        told_s = (told * told_s + seen * seen_s) / (told + seen)
    return min(most_s, max(told_s, served.mean_s)), 1 / (told + seen)


def by_power(pieces: Sequence[tuple[float, float]], idle_w: float, above_w: float) -> float:
    """Seconds with requests running, from the energy above the floor alone. pieces: seconds and joules."""
    up = [(s, e) for s, e in pieces if e > idle_w * s * (1.0 + CLEARLY)]
    return min(sum(s for s, _ in up), sum(e - idle_w * s for s, e in up) / above_w)
