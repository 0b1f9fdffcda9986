"""The seconds that a prompt token, a decoded one and a step take: their part of the floor.

Where requests come and go between two readings, the time in which any ran is told by the energy: then it tells no
seconds, and the floor would go where the power goes. So before any time is known, seconds go as the joules above the
floor, and prompts draw MORE_POWER times what decoding does; what is known of busy times is added by how well it is
known (ridge regression towards that mean; Hoerl and Kennard, 1970).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent.learn import BUSY, FIRST_TERM, WELL, Fit
from agent.nnls import Matrix, dot, nnls, solve

# Above the idle floor, an A100 with Qwen3-8B: 250 ms at 340 to 502 W in prefill, 280 to 291 W in decode, 82.5 W idle
# (recorded with the traces of powertrace-sim).
MORE_POWER = 1.66
OFF = 0.3  # of the seconds that this says: their standard error
LEAST = 0.02  # of all seconds; no part of them is known better beforehand


@dataclass(frozen=True, slots=True)
class Seconds:
    """each: of one of each term. Their precision, in units of 1 / s^2."""

    each: list[float]
    precision: Matrix

    def error(self, of: Sequence[float]) -> float:
        """Standard error of the seconds of so many, each of its own term."""
        return math.sqrt(max(0.0, dot(of, solve(self.precision, of))))


def seconds_of(fit: Fit, gram: Matrix, cleaned: Matrix, above_j: Sequence[float]) -> Seconds:
    """gram: of the terms; cleaned: without noise. above_j: joules above the floor of one of each term."""
    size = len(gram) // len(fit.who)
    guess = [j / MORE_POWER if i % size == 0 else j for i, j in enumerate(above_j)]
    told = dot(guess, [row[BUSY] for row in fit.sums[FIRST_TERM:]])
    square = sum(g * dot(row, guess) for g, row in zip(guess, gram, strict=True))
    guess = [g * told / square if square > 0 else 0.0 for g in guess]
    load = [v for d in fit.load for v in (d.prompt, d.decoded, d.steps)]
    known_s2 = WELL**2 * fit.sums[BUSY][BUSY] / fit.blocks
    if known_s2 <= 0:
        return Seconds(guess, gram)
    a = [[v / known_s2 for v in row[FIRST_TERM:]] for row in fit.sure[FIRST_TERM:]]
    b = [row[BUSY] / known_s2 for row in fit.sure[FIRST_TERM:]]
    for i, amount in enumerate(load):
        a[i][i] *= cleaned[i][i] / gram[i][i] if gram[i][i] > 0 else 1.0
        sd_s = max(OFF * guess[i], LEAST * dot(guess, load) / amount if amount > 0 else 0.0)
        if sd_s > 0:
            per_s = 1.0 / sd_s  # of what is all but forgotten the seconds are huge: their square would be no number
            a[i][i] += per_s * per_s
            b[i] += guess[i] * per_s * per_s
    return Seconds(nnls(a, b), a)
