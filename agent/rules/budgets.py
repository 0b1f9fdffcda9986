"""Alerts on a budget: gone, going fast, and not going to last.

The thresholds of error budgets (burn rates of 14.4 and 6) do not fit: an error budget is burnt at a rate near 0 on a
good day, an energy budget at a rate near 1, and the hardware's maximum power bounds it at perhaps twice that. So what
is asked is not how fast it burns but whether what is left lasts, at two burn rates at once: a long window, so that a
burst is not taken for a trend, and a short one, so that the alert ends soon after the load does. Two pairs of windows
stand for two degrees of haste (multi-window, multi-burn-rate, as in the Site Reliability Workbook, chapter 5).
"""

from __future__ import annotations

from agent.rules.rule import Alert, Group, Record, Severity, quoted
from agent.settings import BudgetSettings

HOUR_S = 3600
LASTS = "joulecar:budget_lasts_seconds"
_LEAD_S = {"day": 2 * HOUR_S, "week": 12 * HOUR_S, "month": 24 * HOUR_S}  # time that a person needs to do something

SHARED = Group(
    "joulecar-budgets",
    (
        Record(
            LASTS,
            """
            # The agent tells the end at the rate of 6 h. At another rate it is further or nearer by their ratio.
              (joulecar_budget_exhausted_timestamp_seconds - time())
            * sum without (window) (joulecar_budget_burn_rate{window="6h"})
            / ignoring (window) group_right ()
              joulecar_budget_burn_rate
            """,
        ),
    ),
    "How long what is left of each budget lasts, at the burn rate of each window.",
)


def groups(budgets: tuple[BudgetSettings, ...]) -> tuple[Group, ...]:
    """One group for each budget, after the one that they share."""
    return (SHARED, *map(_group, budgets)) if budgets else ()


def lead_s(budget: BudgetSettings) -> int:
    """How long before its end a budget's fast alert comes, at the latest: two hours of a day, a day of a month."""
    return _LEAD_S.get(budget.period) or int(min(24 * HOUR_S, budget.over_s / 12))


def _group(budget: BudgetSettings) -> Group:
    name = quoted(budget.name)
    labels = {"budget": budget.name}
    one = f"{{budget={name}}}"
    rolling = budget.period == "rolling"
    until_reset = f"(joulecar_budget_resets_timestamp_seconds{one} - time())"

    def lasts(windows: str) -> str:
        return f'max without (window) (\n  {LASTS}{{budget={name},window=~"{windows}"}}\n)'

    not_gone = f"and joulecar_budget_used_ratio{one} < 1"
    in_time = "" if rolling else f"\nand {lasts('1h|6h')} < {until_reset}"
    fast = f"{lasts('1h|6h')} < {lead_s(budget)}{in_time}\n{not_gone}"
    slow = f"{lasts('6h|24h')} < {int(budget.over_s) if rolling else until_reset}\n{not_gone}"
    end = f"within {budget.over_s / 86400:g} days" if rolling else f"before the {budget.period} is over"
    return Group(
        f"joulecar-budget-{budget.name}",
        (
            Alert(
                "JoulecarBudgetExhausted",
                f"joulecar_budget_used_ratio{one} >= 1",
                Severity.CRITICAL,
                "Budget {{ $labels.budget }} is used up.",
                "{{ $value | humanizePercentage }} of budget {{ $labels.budget }} is used on {{ $labels.instance }}. "
                "Nothing is switched off: whatever runs on is over the limit.",
                "See which engine and model use it: topk(5, sum by (engine, model, use) "
                "(rate(joulecar_energy_joules_total[1h]))). Move or stop load that can wait, scale idle engines down, "
                "or raise the limit in the configuration. The alert ends when the period does, or with a higher limit.",
                labels=labels,
            ),
            Alert(
                "JoulecarBudgetGoesFast",
                fast,
                Severity.CRITICAL,
                "Budget {{ $labels.budget }} is gone in {{ $value | humanizeDuration }}.",
                "At the pace of the last hour and of the last 6 hours, what is left of budget {{ $labels.budget }} on "
                f"{{{{ $labels.instance }}}} is gone in {{{{ $value | humanizeDuration }}}}, {end}.",
                "Compare the burn rates of 1h, 6h and 24h: a new load shows in the short one first. "
                "Hold back batch work, or lower the power limit of the GPUs, until the period begins anew.",
                "2m",
                labels,
            ),
            Alert(
                "JoulecarBudgetWillNotLast",
                slow,
                Severity.WARNING,
                "Budget {{ $labels.budget }} will not last.",
                "At the pace of the last 6 and 24 hours, what is left of budget {{ $labels.budget }} on "
                f"{{{{ $labels.instance }}}} is gone in {{{{ $value | humanizeDuration }}}}, {end}.",
                "Nothing burns yet. Is the growth meant? Then raise the limit. If not, look at tokens per joule "
                "(has it fallen?), at idle joules, and at who uses more than last week.",
                "30m",
                labels,
            ),
            Alert(
                "JoulecarBudgetUnknown",
                f"absent(joulecar_budget_limit{one})",
                Severity.WARNING,
                "Nobody reports budget {{ $labels.budget }}.",
                "Rules were written for budget {{ $labels.budget }}, and no agent that is scraped has it.",
                "Was it renamed or dropped? Then write the rules again: joulecar rules --config FILE. "
                "Else see whether the agent runs and is scraped.",
                "15m",
                labels,
            ),
        ),
    )
