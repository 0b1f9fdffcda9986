"""METRICS.md, written from the table of families: what is served and what is documented cannot part."""

from __future__ import annotations

from collections.abc import Iterator

from exporters.families import THEMES
from exporters.family import LABELS, Family

_HEAD = """# Metrics

Written by `joulecar metrics` from the table that the collector serves (`exporters/families/`). Do not edit.

`/metrics` answers the Prometheus text format, and OpenMetrics to those who ask for it. Base units; counters end in
`_total` and only grow while the agent runs. What is not known is absent: never 0, NaN or infinity.

## What holds in every scrape

Every joule of the devices is in exactly one series, or waits for its tokens:

    sum by (kind) (joulecar_energy_joules_total) + sum by (kind) (joulecar_energy_pending_joules)
      == sum by (kind) (joulecar_device_energy_joules_total)

up to rounding (1e-9 relative). Every joule of prefill and decode is a request's or no request's; where spans come:

    sum by (engine, model) (joulecar_request_energy_joules_sum)
      + sum by (engine, model) (joulecar_request_unclaimed_joules)
      == sum by (engine, model) (joulecar_energy_joules_total{use=~"prefill|decode"})

up to rounding; a model without any such request has the second term alone. Groups have what requests have:

    sum by (engine, model) (joulecar_group_energy_joules_total)
      == sum by (engine, model) (joulecar_request_energy_joules_sum)

as long as `otlp.group_by` stays as it was; a new one begins at 0. The headline gauges are ratios of differences of the
counters:

    sum(increase(joulecar_tokens_total{type="generated"}[5m])) by (engine, model)
      / sum(increase(joulecar_energy_joules_total{use=~"prefill|decode|idle"}[5m])) by (engine, model)

is `joulecar_tokens_per_joule{window="5m", tokens="generated", boundary="serving"}`, but for Prometheus's
extrapolation to the ends of the window.

Label values have no control characters and at most 200 characters; one that had to be changed ends in `~` and a
checksum.
"""

# Written by prometheus_client's ProcessCollector; a test compares this list with what it serves.
PROCESS = {
    "process_cpu_seconds_total": "processor time that the agent used",
    "process_resident_memory_bytes": "memory that the agent holds",
    "process_virtual_memory_bytes": "address space of the agent",
    "process_start_time_seconds": "when the agent started, in Unix time",
    "process_open_fds": "file descriptors that are open",
    "process_max_fds": "file descriptors that may be open",
}


def metrics_md() -> str:
    """The whole document."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    for theme in THEMES:
        yield f"## {theme.title}\n"
        for family in theme.families:
            yield from _family(family)
    yield "## The agent's process\n"
    yield "Linux only, without prefix, as every Prometheus client writes them.\n"
    yield from _table(("metric", "what"), [(f"`{name}`", what) for name, what in PROCESS.items()])
    yield "## Labels\n"
    used = sorted({label for theme in THEMES for family in theme.families for label in family.labels})
    yield from _table(("label", "meaning"), [(f"`{label}`", LABELS[label]) for label in used])


def _family(family: Family) -> Iterator[str]:
    labels = ", ".join(f"`{label}`" for label in family.labels) or "none"
    yield f"### {family.name}\n"
    yield f"{family.type}, {family.unit}; labels: {labels}\n"
    yield f"{family.help}{' ' + family.notes if family.notes else ''}\n"


def _table(head: tuple[str, str], rows: list[tuple[str, str]]) -> Iterator[str]:
    yield f"| {head[0]} | {head[1]} |\n|---|---|"
    yield from (f"| {left} | {right} |" for left, right in rows)
    yield ""
