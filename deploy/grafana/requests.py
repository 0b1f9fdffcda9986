"""The live dashboard's row on single requests: what they cost, whose they are, and whether their spans are well."""

from __future__ import annotations

from deploy.grafana.queries import increase, owned, ratio, site, total
from deploy.grafana.spec import Kind, Panel, Query, Row, Step

_MODEL = "engine, model"
_JOULES = "joulecar_request_energy_joules"
_GRAMS = "joulecar_request_emissions_gco2e"
_QUANTILES = ((0.5, "half"), (0.95, "95%"), (0.99, "99%"))
# A group's labels are those of otlp.group_by, which nobody knows here: all others are summed over.
_ELSE = "cluster, instance, job, engine, model, namespace, service, pod, node, container, endpoint"
_TOP = 12


def _quantiles(histogram: str) -> tuple[Query, ...]:
    buckets = increase(owned(f"{histogram}_bucket"))
    return tuple(
        Query(
            f"histogram_quantile({share}, {total(buckets, f'le, {_MODEL}')}) > 0",
            f"{{{{engine}}}} {{{{model}}}} {name}",
            exemplars=True,
        )
        for share, name in _QUANTILES
    )


def _engines(metric: str) -> str:
    return site(metric, 'engine=~"$engine"')


def _by_group(counter: str) -> Query:
    return Query(f"topk({_TOP}, sum without ({_ELSE}) ({increase(owned(counter))}))")


REQUESTS = Row(
    "Single requests",
    (
        Panel(
            "Joules of a request",
            "Half, 95% and 99% of the requests of the window took no more. Prefill and decode of requests whose spans "
            "came, every kind of device, idle left out. A point is a trace, where the data source links exemplars.",
            Kind.LINES,
            "joule",
            _quantiles(_JOULES),
            low=0,
        ),
        Panel(
            "Grams of a request",
            "Half, 95% and 99% of the requests of the window emitted no more: their joules with node overhead, PUE and "
            "grid losses, at the intensity of their time. No line without an intensity.",
            Kind.LINES,
            "suffix:g",
            _quantiles(_GRAMS),
            low=0,
        ),
        Panel(
            "Joules that requests account for",
            "What requests got over all joules of prefill and decode in the window. The rest belongs to requests "
            "without spans: sampled traces, engines or callers that send none, spans that were refused. Requests get "
            "theirs some 15 s after the booking: at the edges of a load it is off.",
            Kind.LINES,
            "percentunit",
            (
                Query(
                    ratio(
                        f"({total(increase(owned(f'{_JOULES}_sum')), _MODEL)} > 0)",
                        total(increase(owned("joulecar_energy_joules_total", 'use=~"prefill|decode"')), _MODEL),
                    ),
                    "{{engine}} {{model}}",
                ),
            ),
            low=0,
            steps=(Step(0.9, "green"),),
            base_color="orange",
        ),
        Panel(
            "Joules by group",
            f"Joules of the window's requests by the attributes in otlp.group_by, the {_TOP} largest. _other: beyond "
            "max_groups; an empty name: spans that say nothing.",
            Kind.BARS,
            "joule",
            (_by_group("joulecar_group_energy_joules_total"),),
            width=6,
            low=0,
            nothing="no otlp.group_by",
        ),
        Panel(
            "Grams by group",
            f"Grams of the same groups, the {_TOP} largest: with node overhead, PUE and grid losses. Requests whose "
            "grams nobody knows are in none.",
            Kind.BARS,
            "suffix:g",
            (_by_group("joulecar_group_emissions_gco2e_total"),),
            width=6,
            low=0,
            nothing="no otlp.group_by",
        ),
        Panel(
            "Spans by what became of them",
            "Spans of requests in the window. attributed and average got their joules; duplicate and gateway are no "
            "fault; the others say why a span was refused.",
            Kind.LINES,
            "short",
            (
                Query(
                    total(increase(_engines("joulecar_request_spans_total")), "engine, outcome"),
                    "{{engine}} {{outcome}}",
                ),
            ),
            width=6,
            low=0,
        ),
        Panel(
            "Delay of spans",
            "How long after its end even the quickest of an engine's last 64 spans came. Some seconds are usual; far "
            "above, its clock is behind the agent's, and joules go to the wrong requests. ahead: so much its clock is "
            "ahead, which is set right.",
            Kind.LINES,
            "s",
            (
                Query(
                    f"max by (cluster, instance, engine) ({_engines('joulecar_request_span_delay_seconds')})",
                    "{{instance}} {{engine}}",
                ),
                Query(
                    f"max by (cluster, instance, engine) ({_engines('joulecar_request_clock_shift_seconds')}) > 0",
                    "{{instance}} {{engine}} ahead",
                ),
            ),
            width=6,
            low=0,
            steps=(Step(60, "red"),),
        ),
    ),
)
