"""What a step, a prompt token, a generated token and its context cost in joules: the sums that tell it.

Energy above the idle floor, and the time that was busy, are regressed on what the engines did since they last told:

    E - P_idle * T  =  sum over models of  c_prompt * prompt computed + c_decode * decoded + c_step * steps
    busy time       =  the same with seconds instead of joules; the floor of these seconds is added to the prices

with coefficients >= 0 and exponential forgetting. The price of a step is shared by the sequences in it, each of which
needs the weights once: first tokens (a prompt is one sequence) against decoded tokens. Of the designs compared
(`python -m tests.bench phase_weights`) this one comes closest to the truth of a simulated engine: without steps a
light load's decode tokens cannot be told from the weights that they read, and busy time in the place of steps hides
how much of it prompts took.

All of it is sums: memory does not grow with time. What they say is in agent/learned.py. Nothing here decides how many
joules there are, only their parts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.done import Block, Done, Who
from agent.nnls import Matrix, dot, form, nnls

HALF_LIFE_S = 900.0  # of blocks: a quarter of an hour of work
MIN_BLOCKS = 8  # fewer tell nothing
MAX_WHO = 4  # models that are told apart on one group of devices; with more, the prior stays in force
WELL = 0.05  # of a busy time: its standard deviation, where it is known well
TOGETHER = 100.0  # blocks of which the power alone tells the busy time: they are all off the same way
CLOSE = 0.05  # error of prefill's share at which the confidence is 1/2
PRIOR_OFF = 0.22  # how far off the prior's share of prefill is: root mean square over the cases of phase_weights
ANYTHING = 1.0 / 12.0  # variance of a share of which nothing is known
OUTLIER = 4.0  # standard deviations; what is further off counts less
LEAST_J = 1e-3  # of a block: less is what rounding left
GONE = 1e-9  # of the tokens that are not forgotten: a model with fewer did nothing for 30 half-lives

TERMS = 4  # prompt, decode, steps, context
BUSY, TIME, ENERGY, FIRST_TERM = range(4)  # places in the vector of a block; then TERMS for each of who
Sums = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """Forgetting sums over blocks."""

    who: tuple[Who, ...] = ()
    blocks: float = 0.0  # as many as are not forgotten
    sums: Sums = ((0.0,) * FIRST_TERM,) * FIRST_TERM  # of the products of a block's vector with itself
    lag_1: Sums = ((0.0,) * FIRST_TERM,) * FIRST_TERM  # with the vector of the block before
    lag_2: Sums = ((0.0,) * FIRST_TERM,) * FIRST_TERM
    last: tuple[tuple[float, ...], ...] = ()  # the vectors of the last two blocks, the newest first
    load: tuple[Done, ...] = ()  # what was done in all these blocks
    open_ends: float = 0.0  # blocks with requests at their edges, by the part of their time that was busy
    quiet: bool = True  # nothing ran at the last one's end
    sure: Sums = ((0.0,) * FIRST_TERM,) * FIRST_TERM  # like sums, of blocks by how well their busy time is known

    @property
    def busy_known(self) -> float:
        """The part of the busy times' squares that is known well; of the rest the power tells it."""
        fit = up_to_date(self)
        all_s2 = fit.sums[BUSY][BUSY]
        return fit.sure[BUSY][BUSY] / all_s2 if all_s2 > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Price:
    """Joules of one, the floor of its time included."""

    prompt_j: float
    decode_j: float
    step_j: float
    context_j: float = 0.0  # of a thousand tokens read

    def phases(self, done: Done) -> tuple[float, float]:
        """Prefill and decode joules."""
        steps_j = self.step_j * done.steps
        prefill_j = self.prompt_j * done.prompt + steps_j * done.prompts_part
        decode_j = self.decode_j * done.decoded + self.context_j * done.context
        return prefill_j, decode_j + steps_j * (1.0 - done.prompts_part)


@dataclass(frozen=True, slots=True)
class Learned:
    """What a fit says. confidence, 0 to 1: how sure it is of prefill's share of the work,
    CLOSE^2 / (CLOSE^2 + error^2) with the share's standard error: 0.96 at 1% of the work, 1/2 at 5%, 0.2 at 10%.
    residual: what is left unexplained of a block's energy above the floor, root mean square over mean.
    errors: where several models share, the standard error of prefill's share of each one's own work."""

    prices: Mapping[Who, Price]
    confidence: float
    residual: float | None
    errors: Mapping[Who, float] = field(default_factory=dict)

    @property
    def weight(self) -> float:
        """Of this against the prior, each by the inverse of its variance. A share is between 0 and 1: an error as
        large as that of any share at all tells nothing."""
        if self.confidence <= 0:
            return 0.0
        variance = CLOSE**2 * (1.0 / self.confidence - 1.0)
        return max(0.0, 1.0 - variance / ANYTHING) / (1.0 + variance * (1.0 / PRIOR_OFF**2 - 1.0 / ANYTHING))


def confidence_of(error: float) -> float:
    """error: standard error of prefill's share of the work."""
    return CLOSE**2 / (CLOSE**2 + error**2)


def learn(fit: Fit, block: Block, idle_w: float | None, *, quiet: bool = True) -> Fit:
    """The fit after one more block. idle_w: the floor's power, as far as it is known; used to tell outliers. quiet:
    nothing runs at its end, so that all its prompts are told."""
    if not block.done or block.energy_j < LEAST_J:
        return fit
    fit, keep = _without_gone(up_to_date(fit), block.done), 0.5 ** (block.time_s / HALF_LIFE_S)
    new = [who for who in sorted(block.done) if who not in fit.who]
    if len(fit.who) + len(new) > MAX_WHO:
        return _faded(fit, keep)
    fit = _with_room(fit, new)
    v = (block.busy_s, block.time_s, block.energy_j, *_terms(fit.who, block.done))
    weight = _trust(fit, v, idle_w)

    def add(sums: Sums, other: Sequence[float], weight: float = weight) -> Sums:
        pairs = zip(sums, v, other, strict=True)
        return tuple(
            tuple(keep * s + weight * (vi * oj + oi * vj) / 2 for s, vj, oj in zip(row, v, other, strict=True))
            for row, vi, oi in pairs
        )

    lags = [add(s, fit.last[k]) if k < len(fit.last) else s for k, s in enumerate((fit.lag_1, fit.lag_2))]
    edges = ((not fit.quiet) + (not quiet)) / 2
    busy = min(1.0, block.busy_s / block.time_s) if block.time_s > 0 else 1.0
    return Fit(
        who=fit.who,
        blocks=keep * fit.blocks + weight,
        sums=add(fit.sums, v),
        lag_1=lags[0],
        lag_2=lags[1],
        last=(v, *fit.last[:1]),
        load=tuple(
            old.times(keep).plus(block.done.get(who, Done()).times(weight))
            for who, old in zip(fit.who, fit.load, strict=True)
        ),
        open_ends=keep * fit.open_ends + weight * edges * busy,
        quiet=quiet,
        sure=add(fit.sure, v, weight * _sure(block)),
    )


def up_to_date(fit: Fit) -> Fit:
    """One that an older version remembered took all busy times for well known."""
    return fit if len(fit.sure) == len(fit.sums) else replace(fit, sure=fit.sums)


def _sure(block: Block) -> float:
    """How much a block tells of seconds. Where the power tells for how long requests ran, time in which little was
    drawn seems short: of prompts too much and of decoding too little, in every such block."""
    known_s2 = (WELL * block.busy_s) ** 2
    return known_s2 / (known_s2 + TOGETHER * block.busy_var_s2) if known_s2 > 0 else 1.0


def _without_gone(fit: Fit, done: Mapping[Who, Done]) -> Fit:
    """Without models that have not worked for so long that nothing is known of them: an engine may have been started
    with another. A price of what is hardly there would be 0, and a model that comes back would get no joules."""
    tokens = [d.prompt + d.generated for d in fit.load]
    least = GONE * sum(tokens)
    stay = [k for k, (who, n) in enumerate(zip(fit.who, tokens, strict=True)) if who in done or n > least]
    if len(stay) == len(fit.who):
        return fit
    places = [*range(FIRST_TERM), *(FIRST_TERM + TERMS * k + i for k in stay for i in range(TERMS))]
    return replace(
        _each_sums(fit, lambda sums: tuple(tuple(sums[i][j] for j in places) for i in places)),
        who=tuple(fit.who[k] for k in stay),
        last=tuple(tuple(v[i] for i in places) for v in fit.last),
        load=tuple(fit.load[k] for k in stay),
    )


def _faded(fit: Fit, keep: float) -> Fit:
    """After a block that there was no room for. Once little is left the fit begins anew: others work now."""
    if keep * fit.blocks < MIN_BLOCKS:
        return Fit()
    return replace(
        _each_sums(fit, lambda sums: tuple(tuple(keep * s for s in row) for row in sums)),
        blocks=keep * fit.blocks,
        last=(),
        load=tuple(d.times(keep) for d in fit.load),
        open_ends=keep * fit.open_ends,
    )


def _with_room(fit: Fit, new: Sequence[Who]) -> Fit:
    if not new:
        return fit
    zeros = (0.0,) * (TERMS * len(new))

    def wider(sums: Sums) -> Sums:
        return (*((*row, *zeros) for row in sums), *((0.0,) * (len(sums) + len(zeros)) for _ in zeros))

    return replace(
        _each_sums(fit, wider),
        who=(*fit.who, *new),
        last=tuple((*v, *zeros) for v in fit.last),
        load=(*fit.load, *(Done() for _ in new)),
    )


def _each_sums(fit: Fit, way: Callable[[Sums], Sums]) -> Fit:
    return replace(fit, sums=way(fit.sums), lag_1=way(fit.lag_1), lag_2=way(fit.lag_2), sure=way(fit.sure))


def _terms(who: Sequence[Who], done: Mapping[Who, Done]) -> list[float]:
    return [v for w in who for v in terms_of(done.get(w, Done()))]


def terms_of(done: Done) -> tuple[float, ...]:
    return done.prompt, done.decoded, done.steps, done.context


def above_floor(sums: Sums, gram: Matrix, idle_w: float | None) -> list[float]:
    """Joules of each term."""
    return nnls(gram, [row[ENERGY] - (idle_w or 0.0) * row[TIME] for row in sums[FIRST_TERM:]])


def unexplained(above: Sequence[float], idle_w: float | None) -> list[float]:
    """With a block's vector: what these prices leave of its energy."""
    return [0.0, -(idle_w or 0.0), 1.0, *(-c for c in above)]


def _trust(fit: Fit, v: Sequence[float], idle_w: float | None) -> float:
    """1, and less for a block that is far from all that is known: tokens that were told late, a stranger's load."""
    if fit.blocks < 2 * MIN_BLOCKS:
        return 1.0
    gram = [row[FIRST_TERM:] for row in fit.sums[FIRST_TERM:]]  # context included: no dear one is an outlier
    left = unexplained(above_floor(fit.sums, gram, idle_w), idle_w)
    rms_j = math.sqrt(max(0.0, form(fit.sums, left)) / max(1.0, fit.blocks - len(gram)))
    off_j = abs(dot(left, v))
    return min(1.0, OUTLIER * rms_j / off_j) if off_j > 0 else 1.0
