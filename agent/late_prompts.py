"""Prompts that are told late, and what that does to their price.

A prompt is told at its first token, in one lump, though it may have been computed before the block began. Where
requests run without a pause that is noise in a regressor, which pulls its price towards 0 (errors in variables;
Fuller, Measurement Error Models, 1987, section 2.2). Against it: blocks last until nothing runs or enough prompts are
in them; the noise's variance is estimated and taken out of the sums; and what it may still do lowers the confidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.done import NO_REQUESTS
from agent.learn import FIRST_TERM, Fit, unexplained
from agent.nnls import Matrix, form, solve

NOISE_LEFT = 0.5  # of what was estimated and taken out
PRIOR_PROMPT = 0.12  # of a generated token, as the prior has it


@dataclass(frozen=True, slots=True)
class Late:
    """For each of who: how much of the prompts' sum of squares is their late telling, and what of it is taken out."""

    noise: list[float]
    taken: list[float]

    def without(self, gram: Matrix) -> Matrix:
        """The sums of all terms but for what is taken out."""
        if not any(self.taken):
            return gram
        cleaned = [list(row) for row in gram]
        for k, v in enumerate(self.taken):
            at = len(gram) // len(self.taken) * k
            cleaned[at][at] -= v
        return cleaned


def late_of(fit: Fit, gram: Matrix, above: Sequence[float], idle_w: float | None) -> Late:
    """Of these prices (J).

    What is told too late in one block is too much in the next: that shows as a step down of the covariance of
    neighbours against that of every second block, in the prompts (as far as nothing else goes with them) or in what
    the fit leaves unexplained. It is never more than a long prompt at each edge would make.
    """
    left = unexplained(above, idle_w)
    next_j2 = form(fit.lag_1, left)
    noise, taken = [], []
    for k, d in enumerate(fit.load):
        at = len(gram) // len(fit.who) * k
        others = [i for i in range(len(gram)) if i != at]
        goes_with = solve([[gram[i][j] for j in others] for i in others], [gram[i][at] for i in others])
        own = [0.0] * (FIRST_TERM + len(gram))
        own[FIRST_TERM + at] = 1.0
        for i, g in zip(others, goes_with, strict=True):
            own[FIRST_TERM + i] = -g
        own_2, next_2, second_2 = (form(s, own) for s in (fit.sums, fit.lag_1, fit.lag_2))
        by_prompts = 2.0 * (second_2 - next_2)
        by_energy = -2.0 * next_j2 / above[at] ** 2 if above[at] > 0 else 0.0
        mean = d.prompt / (d.first if d.first > NO_REQUESTS else fit.blocks)
        most = max(0.0, min(own_2, 2.0 * mean**2 * fit.open_ends))
        noise.append(min(most, max(0.0, by_prompts, by_energy)))
        taken.append(min(noise[-1], max(0.0, own_2) / 2))
    return Late(noise, taken)


def pulled_j(fit: Fit, late: Late, above_j: float, prices_j: Sequence[float]) -> list[float]:
    """What is left of the noise hides so much of a prompt's price, the one that was found or the prior's."""
    weights = sum(PRIOR_PROMPT * d.prompt + d.generated for d in fit.load)
    prior_j = above_j * PRIOR_PROMPT / weights if weights > 0 else 0.0  # as of steps that gave no token
    size = len(prices_j) // len(fit.who)
    return [NOISE_LEFT * n * max(prices_j[size * k], prior_j) for k, n in enumerate(late.noise)]
