"""Pieces of PromQL that every panel is made of.

Two rules hold for all: a ratio is a ratio of sums of increases, never a mean of ratios; and what is not known finds
nothing, never 0. Where 0 is true only while something else is known, `zero_where` says what.
"""

from __future__ import annotations

SITE = 'cluster=~"$cluster", instance=~"$instance"'
OWNED = f'{SITE}, engine=~"$engine", model=~"$model"'
OWNER = "cluster, instance, engine, model"
SERVING = 'use=~"prefill|decode|idle"'
GENERATED = 'type="generated"'
NOBODY = "nobody's"


def site(metric: str, *matchers: str) -> str:
    """The metric of the agents that are chosen."""
    return f"{metric}{{{', '.join((SITE, *matchers))}}}"


def owned(metric: str, *matchers: str) -> str:
    """The metric of the engines and models that are chosen; with all chosen, what is nobody's, too."""
    return f"{metric}{{{', '.join((OWNED, *matchers))}}}"


def rate(series: str) -> str:
    return f"rate({series}[$__rate_interval])"


def increase(series: str, over: str = "$window") -> str:
    return f"increase({series}[{over}])"


def total(expr: str, by: str = "") -> str:
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def ratio(above: str, below: str, *, join: str = "") -> str:
    """above / below; nothing where below is 0."""
    return f"{above}\n/ {join + ' ' if join else ''}({below} > 0)"


def zero_where(expr: str, known: str, by: str = "") -> str:
    """expr, and 0 where it finds nothing but `known` does: then nothing has been counted, and that is known."""
    count = f"count by ({by}) ({known})" if by else f"count({known})"
    return f"{expr}\nor 0 * {count}"


def whose_tokens_count(series: str, counted: str = "joulecar_tokens_total") -> str:
    """Of these increases, those of models whose tokens (or requests) the engine counts: others have no denominator."""
    only = f", {GENERATED}" if counted == "joulecar_tokens_total" else ""
    return f"({increase(series)} and on ({OWNER}) {counted}{{{SITE}{only}}})"


def named(expr: str) -> str:
    """With a name for what belongs to nobody, so that its legend is not empty."""
    return f'label_replace({expr}, "model", "{NOBODY}", "model", "")'
