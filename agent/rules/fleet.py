"""Sums over many agents, so that a dashboard of a fleet asks for few series.

`sum without` keeps every label that a scrape adds (cluster, job, region ...) and drops what tells one agent or pod from
another. A ratio is one of sums, never a mean of ratios. Levels: model = by model and zone, zone = all models of a
zone, cluster = all zones.
"""

from __future__ import annotations

from agent.rules.rule import Alert, Group, Record, Severity

ZONE = "instance:joulecar_zone:info"
RANGES = ("5m", "1h")
_ONE = "instance, pod, node, container, endpoint"  # what tells one agent from another, Kubernetes's labels included
_COUNTERS = {  # counter -> its own labels that a fleet does without; model, use, type, scope stay
    "joulecar_energy_joules": "engine, kind",
    "joulecar_tokens": "engine",
    "joulecar_requests": "engine, outcome",
    "joulecar_emissions_gco2e": "engine",
}
_LEVELS = {"model": "", "zone": "model", "cluster": "model, zone"}  # level -> the labels that it drops


HALVED = Alert(
    "JoulecarTokensPerJouleHalved",
    """
      model:joulecar_tokens_per_joule:rate1h
    < 0.5 * (model:joulecar_tokens_per_joule:rate1h offset 1w)
    """,
    Severity.WARNING,
    "Model {{ $labels.model }} makes half the tokens for a joule that it made a week ago.",
    "{{ $value | humanize }} generated tokens per joule, idling included, less than half of the same hour a week ago.",
    "Fewer requests at a time (batch size), longer prompts, more replicas than the load needs, a new version "
    "or precision, or a GPU that is throttled. Compare prefill, decode and idle joules with last week's.",
    "1h",
)


def groups() -> tuple[Group, ...]:
    """One group for each range of rates; the first records the zones that both use."""
    short, long = RANGES
    return (
        Group(
            f"joulecar-fleet-{short}",
            (_zones(), *_records(short)),
            "Joules per second (watts), tokens, requests and grams per second, and their ratios.",
        ),
        Group(f"joulecar-fleet-{long}", (*_records(long), HALVED)),
    )


def _records(range_: str) -> list[Record]:
    rules = []
    rules += [_sum("model", counter, range_, labels) for counter, labels in _COUNTERS.items()]
    rules.append(_sum("zone", "joulecar_device_energy_joules", range_, "device"))
    for level in ("zone", "cluster"):
        rules += [_higher(level, counter, range_) for counter in _COUNTERS]
    rules.append(
        Record(
            f"cluster:joulecar_device_energy_joules:rate{range_}",
            f"sum without (zone) (zone:joulecar_device_energy_joules:rate{range_})",
        )
    )
    for level in _LEVELS:
        rules += _ratios(level, range_)
    return rules


def _zones() -> Record:
    """Which zone each agent is in: one for each, since two would break every sum. One that knows none has the empty
    zone, so that no joule drops out."""
    return Record(
        ZONE,
        """
        topk by (cluster, job, instance) (1,
            max without (provider, signal, basis, kind) (joulecar_grid_intensity_info{signal="average"})
          or on (cluster, job, instance)
            max without (provider, signal, basis, kind) (joulecar_grid_intensity_info)
          or on (cluster, job, instance)
            max without (version, python) (joulecar_build_info)
        )
        """,
    )


def _sum(level: str, counter: str, range_: str, labels: str) -> Record:
    return Record(
        f"{level}:{counter}:rate{range_}",
        f"""
        sum without ({_ONE}, {labels}) (
            rate({counter}_total[{range_}])
          * on (cluster, job, instance) group_left (zone)
            {ZONE}
        )
        """,
    )


def _higher(level: str, counter: str, range_: str) -> Record:
    return Record(f"{level}:{counter}:rate{range_}", f"sum without ({_LEVELS[level]}) (model:{counter}:rate{range_})")


def _ratios(level: str, range_: str) -> tuple[Record, Record]:
    drops = _LEVELS[level]

    def total(own: str, of: str) -> str:
        return f"sum without ({', '.join(filter(None, (own, drops)))}) (\n  {of}\n)"

    tokens = f'model:joulecar_tokens:rate{range_}{{type="generated"}}'
    joules = f'model:joulecar_energy_joules:rate{range_}{{use=~"prefill|decode|idle"}}'
    grams = f'model:joulecar_emissions_gco2e:rate{range_}{{scope="operational",model!=""}}'
    # Agents that know no intensity have tokens and no grams: theirs are not to be divided by.
    priced = f"{tokens}\n  and ignoring (type, scope) {grams}"
    return (
        Record(
            f"{level}:joulecar_tokens_per_joule:rate{range_}",
            f"({total('type', tokens)} > 0)\n/ {total('use', joules)}",
        ),
        Record(
            f"{level}:joulecar_gco2e_per_1k_tokens:rate{range_}",
            f"1000 * {total('scope', grams)}\n/ ({total('type', priced)} > 0)",
        ),
    )
