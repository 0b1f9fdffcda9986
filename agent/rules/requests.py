"""How much of a model's energy its requests' spans account for, and whether that is too much."""

from __future__ import annotations

from agent.rules.rule import Alert, Group, Record, Severity

COVERAGE = "joulecar:request_coverage:ratio1h"
_ACTIVE = 'sum without (use, kind) ({0}joulecar_energy_joules_total{{use=~"prefill|decode"}}{1})'

REQUESTS = Group(
    "joulecar-requests",
    (
        Record(
            COVERAGE,
            f"""
              (rate(joulecar_request_energy_joules_sum[1h]) and rate(joulecar_request_energy_joules_count[1h]) > 0)
            / ({_ACTIVE.format("rate(", "[1h])")} > 0)
            """,
        ),
        Alert(
            "JoulecarRequestCoverage",
            f"""
              {COVERAGE} < 0.9
            # Who sums by no attribute may sample traces: single requests are right, whatever part of them is seen.
              and on (instance, job, engine, model) joulecar_group_energy_joules_total
            """,
            Severity.INFO,
            "Sums by tenant of {{ $labels.engine }} on {{ $labels.instance }} lack joules.",
            "Requests with spans account for {{ $value | humanizePercentage }} of the last hour's joules of prefill "
            "and decode of {{ $labels.model }}; the rest is in joulecar_request_unclaimed_joules and in no group.",
            "Are traces sampled (OTEL_TRACES_SAMPLER)? Then sums by group are of a sample. Are spans refused, or late "
            "(joulecar_request_spans_total by outcome, joulecar_part_errors_total{part='otlp'})? Do some replicas of "
            "the engine send none?",
            "1h",
        ),
        Alert(
            "JoulecarRequestResidual",
            f"joulecar_request_unclaimed_joules < -1e-6 * {_ACTIVE.format('', '')}",
            Severity.CRITICAL,
            "Joulecar on {{ $labels.instance }} gave requests more joules than there were.",
            "Requests of {{ $labels.model }} on {{ $labels.engine }} have {{ $value | humanize }} J too many (below "
            "0): some were given twice. That must never be.",
            "This is a fault of Joulecar. Please report it with a trace: joulecar run --record FILE.",
            "5m",
        ),
    ),
    "Where spans of requests are received: which part of prefill and decode they account for.",
)
