"""Tokens as weights: by the prior or the configured number, and by what was learned, as far as it is trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent.accounts import Account, Rules
from agent.attribution import PRIOR_PREFILL_WEIGHT, Owner
from agent.done import Done, Who
from agent.instances import token_sizes
from agent.learn import ANYTHING, Learned, confidence_of
from agent.learned import learned
from agent.model import Use

UNKNOWN = Learned({}, 0.0, None)
SURE = 0.8  # of a confidence: 2.5% of the work
KNOWN = 0.5  # of busy times: with less what power says of them is in what spans teach


@dataclass(frozen=True, slots=True)
class InUse:
    """How an engine's work is split into phases now."""

    prefill_weight: float
    confidence: float | None = None  # None: nothing is learned, the configuration says
    residual: float | None = None


def prior(rules: Rules) -> float:
    return PRIOR_PREFILL_WEIGHT if rules.prefill_weight is None else rules.prefill_weight


def known(account: Account, rules: Rules) -> Learned:
    """What spans taught of a model alone, or, without them, what the account's fit says. Spans know which contexts were
    read, but what is wrong of busy times is in their windows: where power tells these, the fit goes before, if it is
    sure with the contexts' price of the spans. Of several on one GPU that would go round in a circle: what a model's
    requests teach is how the joules divide that it was given. A number in the configuration rules out every other."""
    who = account.fit.who
    taught = rules.taught.get(who[0]) if len(who) == 1 and rules.prefill_weight is None else None
    if taught is None:
        return by_counters(account, rules)
    if account.fit.busy_known >= KNOWN:
        return taught
    price = taught.prices[who[0]]
    told = price.context_j / price.step_j if price.step_j > 0 else None
    own = learned(account.fit, account.floor.rest_w, told)
    return own if own.confidence >= SURE else taught


def by_counters(account: Account, rules: Rules) -> Learned:
    """What the account's fit says by itself."""
    return UNKNOWN if rules.prefill_weight is not None else learned(account.fit, account.floor.rest_w)


def weigh(done: Mapping[Who, Done], rules: Rules, says: Learned = UNKNOWN) -> dict[Owner, float]:
    """Parts by engine, model and phase: those of prior and fit, each normalised, mixed by the fit's weight. They
    weigh work of any amount; who did nothing is not there."""
    sizes = token_sizes(rules.instances, {engine for engine, _ in done})
    plain = {
        (engine, model, use): weight * sizes[engine]
        for (engine, model), d in done.items()
        for use, weight in ((Use.PREFILL, prior(rules) * d.prompt), (Use.DECODE, d.generated))
        if weight > 0
    }
    priced: dict[Owner, float] = {}
    for who, d in done.items():
        if who not in says.prices:
            return plain  # never half by one measure and half by another
        prefill_j, decode_j = says.prices[who].phases(d)
        priced |= {(*who, Use.PREFILL): prefill_j, (*who, Use.DECODE): decode_j}
    total, total_j = sum(plain.values()), sum(priced.values())
    if total <= 0 or total_j <= 0:
        return plain
    c = says.weight
    return {o: total * (c * priced.get(o, 0.0) / total_j + (1.0 - c) * plain[o] / total) for o in plain}


def in_use(accounts: Iterable[Account], engine: str, rules: Rules) -> InUse:
    """What one number says of an engine's weights, at the load of its recent past."""
    best = max(
        (a for a in accounts if any(who[0] == engine for who in a.fit.who)), key=lambda a: a.fit.blocks, default=None
    )
    if best is None or rules.prefill_weight is not None:
        return InUse(prior(rules), None if rules.prefill_weight is not None else 0.0)
    says = known(best, rules)
    load = {who: d for who, d in zip(best.fit.who, best.fit.load, strict=True) if who[0] == engine}
    weights = weigh(load, rules, says)
    prefill = sum(w for (_, _, use), w in weights.items() if use is Use.PREFILL)
    decode = sum(w for (_, _, use), w in weights.items() if use is Use.DECODE)
    prompt, generated = sum(d.prompt for d in load.values()), sum(d.generated for d in load.values())
    sure = _confidence(says, weights)
    if prompt <= 0 or generated <= 0 or decode <= 0:
        return InUse(prior(rules), sure, says.residual)
    return InUse((prefill / prompt) / (decode / generated), sure, says.residual)


def _confidence(says: Learned, weights: Mapping[Owner, float]) -> float:
    """Of these models' own work, where others share their GPUs: what is little of all may be much of theirs."""
    total = sum(weights.values())
    if not says.errors or total <= 0:
        return says.confidence
    most = math.sqrt(ANYTHING)
    error = sum(w * min(most, says.errors.get((engine, model), most)) for (engine, model, _), w in weights.items())
    return confidence_of(error / total)


def prices(accounts: Iterable[Account], rules: Rules) -> dict[Who, Learned]:
    """By model: what the counters say, of the account that knows most. What spans taught is held against it."""
    best: dict[Who, Account] = {}
    for account in accounts:
        for who in account.fit.who:
            if who not in best or best[who].fit.blocks < account.fit.blocks:
                best[who] = account
    return {who: by_counters(account, rules) for who, account in best.items()}
