"""How requests decode together: reconstructed from when each one began and ended.

An engine that batches continuously gives every decoding request one token a step. Spans tell how many tokens a request
got between its first and its last; between two edges of spans the number of requests is known, and the number of steps
is that which fits all of them best: iterative proportional fitting (Deming and Stephan, 1940), begun with the mean
rate of the requests there. From that follows what a request took part in over any time: tokens, steps shared with so
many others, contexts read, seconds shared. Nothing here knows of joules.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import accumulate, pairwise

ROUNDS = 3  # of fitting; more change little
MOMENT_S = 1e-6  # what is shorter has no time: Unix seconds are not told more exactly


@dataclass(frozen=True, slots=True)
class Life:
    """One request, Unix seconds: its prompt was computed until first_s, its tokens came from there to end_s."""

    begin_s: float
    first_s: float
    end_s: float
    prompt: float = 0.0  # tokens computed
    generated: float = 0.0
    context: float = 0.0  # tokens of its prompt, cached ones included
    with_cached: bool = False  # nobody told how many of the prompt's tokens came from the cache
    at_end: bool = False  # its engine counts its tokens when it ends


@dataclass(frozen=True, slots=True)
class Part:
    """What of a life lies in a time. What it took part in, and what the engine counts of it then."""

    prompt: float = 0.0  # tokens computed
    prefill_steps: float = 0.0  # each shared with the others in it
    decoded: float = 0.0  # tokens
    steps: float = 0.0  # each shared likewise
    context: float = 0.0  # tokens read, in thousands
    seconds: float = 0.0  # each shared likewise
    told_prompt: float = 0.0
    told_generated: float = 0.0


_At = tuple[float, float, float]  # up to a moment: steps, steps shared, seconds shared


class Pace:
    """The pace of all lives that are known. Memory and time grow with their number, not with how many overlap."""

    def __init__(self, lives: Sequence[Life]) -> None:
        decoding = [x for x in lives if x.end_s - x.first_s > MOMENT_S and x.generated > 0]
        self._edges = sorted({t for x in decoding for t in (x.first_s, x.end_s)})
        place = {t: n for n, t in enumerate(self._edges)}
        spans = [(place[x.first_s], place[x.end_s], x.generated) for x in decoding]
        lengths = [b - a for a, b in pairwise(self._edges)]
        self._beside = [round(n) for n in _spread(spans, [1.0] * len(spans), len(lengths))]
        rates = _spread(spans, [x.generated / (x.end_s - x.first_s) for x in decoding], len(lengths))
        steps = [_mean(r, n) * s for r, n, s in zip(rates, self._beside, lengths, strict=True)]
        for _ in range(ROUNDS):
            upto = [0.0, *accumulate(steps)]
            factors = [g / (upto[b] - upto[a]) if upto[b] > upto[a] else 1.0 for a, b, g in spans]
            mean = _spread(spans, factors, len(lengths))
            steps = [s * _mean(f, n) for s, f, n in zip(steps, mean, self._beside, strict=True)]
        self._firsts = sorted({x.first_s for x in lives if x.prompt > 0})
        self._each = steps
        self._lengths = lengths
        self._share(0.0)

    def _share(self, others: float) -> None:
        self._others = others
        sharers = [n + others if n else 0 for n in self._beside]
        steps = accumulate(self._each, initial=0.0)
        shared_steps = accumulate(map(_mean, self._each, sharers), initial=0.0)
        shared_s = accumulate(map(_mean, self._lengths, sharers), initial=0.0)
        self._sums: list[_At] = list(zip(steps, shared_steps, shared_s, strict=True))

    def beside(self, others: float) -> Pace:
        """The same, were so many more requests in every step."""
        made = copy(self)
        made._share(others)
        return made

    def part(self, life: Life, start_s: float, end_s: float) -> Part:
        """What of a life lies in [start_s, end_s); a moment lies in the time that ends with it."""
        begins = start_s < life.first_s <= end_s
        told_prompt = life.prompt if begins else 0.0
        begin_s = self._begin_s(life)
        run_s = life.first_s - begin_s
        if run_s <= MOMENT_S:
            ran = 1.0 if begins else 0.0
        else:
            ran = max(0.0, min(end_s, life.first_s) - max(start_s, begin_s)) / run_s
        decoded, steps, context, seconds = self._decoded(life, start_s, end_s)
        if life.at_end:
            told_generated = life.generated if start_s < life.end_s <= end_s else 0.0
        else:  # the first token comes with the prompt
            told_generated = decoded + (min(1.0, life.generated) if begins else 0.0)
        return Part(
            prompt=ran * life.prompt,
            prefill_steps=ran / self._sharers_at(life.first_s) if ran and life.prompt else 0.0,
            decoded=decoded,
            steps=steps,
            context=context,
            seconds=seconds,
            told_prompt=told_prompt,
            told_generated=told_generated,
        )

    def _begin_s(self, life: Life) -> float:
        """From when on its prompt was computed: engines take prompts one after the other, so not before the one that
        was done before."""
        n = bisect_left(self._firsts, life.first_s) - 1
        return max(life.begin_s, self._firsts[n]) if n >= 0 else life.begin_s

    def _decoded(self, life: Life, start_s: float, end_s: float) -> tuple[float, float, float, float]:
        tokens = max(0.0, life.generated - 1.0)
        a_s, b_s = max(start_s, life.first_s), min(end_s, life.end_s)
        is_moment = life.end_s - life.first_s <= MOMENT_S
        if is_moment:
            a_s, b_s = (life.first_s, life.end_s) if start_s < life.end_s <= end_s else (start_s, -math.inf)
        if b_s < a_s or not tokens:
            return 0.0, 0.0, 0.0, 0.0
        if is_moment:  # no time is told: all at once
            return tokens, tokens / self._sharers_at(b_s), tokens * (life.context + tokens / 2) / 1000, 0.0
        first, last = self._at(life.first_s), self._at(life.end_s)
        a = first if a_s == life.first_s else self._at(a_s)
        b = last if b_s == life.end_s else self._at(b_s)
        all_steps = last[0] - first[0]
        own = tokens / all_steps if all_steps > 0 else 0.0
        decoded = own * (b[0] - a[0])
        before = own * (a[0] - first[0])
        context = decoded * (life.context + before + decoded / 2) / 1000
        return decoded, own * (b[1] - a[1]), context, b[2] - a[2]

    def _at(self, t_s: float) -> _At:
        edges, sums = self._edges, self._sums
        n = bisect_right(edges, t_s) - 1
        if n < 0:
            return 0.0, 0.0, 0.0
        if n >= len(edges) - 1:
            return sums[-1]
        part = (t_s - edges[n]) / (edges[n + 1] - edges[n])
        (a, b, c), (d, e, f) = sums[n], sums[n + 1]
        return a + part * (d - a), b + part * (e - b), c + part * (f - c)

    def _sharers_at(self, t_s: float) -> float:
        """Of a step in which one more joins those that decode just before a moment."""
        n = bisect_right(self._edges, t_s) - 1
        if 0 <= n < len(self._edges) and self._edges[n] == t_s:
            n -= 1
        return 1 + self._others + (self._beside[n] if 0 <= n < len(self._beside) else 0)


def _spread(spans: Sequence[tuple[int, int, float]], values: Sequence[float], slices: int) -> list[float]:
    """The sum of the values of all spans that cover each slice."""
    changes = [0.0] * (slices + 1)
    for (a, b, _), value in zip(spans, values, strict=True):
        changes[a] += value
        changes[b] -= value
    return list(accumulate(changes))[:-1] if slices else []


def _mean(total: float, n: float) -> float:
    return max(0.0, total) / n if n else 0.0
