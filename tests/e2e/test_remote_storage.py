"""Agents' pages through Debian's prometheus into Debian's victoria-metrics: it answers the fleet dashboard as
Prometheus itself does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Figure
from tests.fakes.prometheus import Prometheus, Vector
from tests.fakes.victoria import VictoriaMetrics
from tests.fleet.asking import RULES, Asked, asked, brisk
from tests.fleet.fleet import Fleet, agents, kinds

pytestmark = pytest.mark.e2e

AGENTS = 20
SPAN_S = 8
PAGES = 14
ARRIVES_S = 60.0
QUERIES = asked(span=f"{SPAN_S}s", step="1s")
EXAMPLE = RULES.with_name("remote-write.yml")


@dataclass(frozen=True)
class Both:
    """at_s: a moment of which both know everything."""

    prometheus: Prometheus
    victoria: VictoriaMetrics
    at_s: float


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("remote")
    with ExitStack() as stack:
        victoria = stack.enter_context(VictoriaMetrics(folder / "victoria"))
        fleet = stack.enter_context(Fleet(agents(AGENTS), kinds(10), time.time(), stamped=False))
        prometheus = stack.enter_context(
            Prometheus(
                folder / "prometheus", rules=[brisk(folder)], static=fleet.targets(),
                remote_write=[example(victoria)],
            )
        )  # fmt: skip
        until_s = time.monotonic() + 60.0
        while fleet.served < PAGES:
            assert time.monotonic() < until_s, "prometheus does not scrape"
            time.sleep(0.2)
        # Between two steps: at a step, Prometheus before 3.0 counts the first point of a range and VictoriaMetrics
        # does not, so that a sum over 24 h in steps of a minute is of 1,441 points there and of 1,440 here.
        at_s = int(time.time()) + 0.5
        wait_until_written(victoria, at_s)
        yield Both(prometheus, victoria, at_s)


def example(victoria: VictoriaMetrics) -> dict[str, Any]:
    """The remote_write of the example, to this server."""
    (written,) = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))["remote_write"]
    assert isinstance(written, dict)
    assert written["url"].endswith("/api/v1/write")
    return written | {"url": victoria.write_url}


def wait_until_written(victoria: VictoriaMetrics, at_s: float) -> None:
    """Until a sample later than at_s has arrived of every target and of every rule's series."""
    until_s = time.monotonic() + ARRIVES_S
    arriving = ("up", "cluster:joulecar_gco2e_per_1k_tokens:rate1h")  # the last record of the last group
    while time.monotonic() < until_s:
        victoria.flush()
        late = [victoria.query(f"count(timestamp({name}) <= {at_s:.3f}) or 0 * count({name})") for name in arriving]
        if [list(found.values()) for found in late] == [[0.0], [0.0]]:
            return
        time.sleep(0.2)
    raise AssertionError("prometheus does not write, or not in time")


def same(a: Vector, b: Vector) -> None:
    assert a.keys() == b.keys()
    for labels, value in a.items():
        # The order in which a sum is taken may differ, no more.
        assert b[labels] == pytest.approx(value, rel=1e-9, abs=1e-12), labels


@pytest.mark.parametrize("query", QUERIES, ids=[f"{n} {q.title}" for n, q in enumerate(QUERIES)])
def test_the_fleet_dashboard_is_answered_alike(both: Both, query: Asked) -> None:
    here = both.prometheus.query(query.expr, both.at_s)
    assert here, "nothing is found"
    same(here, both.victoria.query(query.expr, both.at_s))
    if not query.instant:
        start_s = both.at_s - 4.0
        ours, theirs = (db.query_range(query.expr, start_s, both.at_s, 2.0) for db in (both.prometheus, both.victoria))
        same({k: v[-1][1] for k, v in ours.items()}, {k: v[-1][1] for k, v in theirs.items()})


def test_every_series_of_every_agent_arrives(both: Both, figure: Figure) -> None:
    count = 'count by (cluster, instance) ({__name__=~"joulecar_.+|process_.+", instance!=""})'
    here = both.prometheus.query(count, both.at_s)
    assert len(here) == AGENTS
    same(here, both.victoria.query(count, both.at_s))
    energy = "sum by (cluster, instance) (joulecar_device_energy_joules_total)"
    same(both.prometheus.query(energy, both.at_s), both.victoria.query(energy, both.at_s))
    figure(f"remote storage: {sum(here.values()):.0f} series of {AGENTS} agents, {both.victoria.samples():.0f} samples")
