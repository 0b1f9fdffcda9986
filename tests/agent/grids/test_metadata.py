"""The clouds' metadata services, on loopback: only a region of the table counts, and it takes a second at most."""

from __future__ import annotations

import socket
import time

import pytest

from agent.clock import SystemClock
from agent.grids.metadata import BUDGET_S, ask
from agent.model import Located
from tests.fakes.metadata import MetadataService, aws, azure, gcp, serving


def told(service: MetadataService) -> Located:
    with serving(service):
        return ask(SystemClock(), service.url)


@pytest.mark.parametrize(
    ("service", "zone", "found"),
    [
        (aws("eu-west-3"), "aws:eu-west-3", "aws"),
        (aws("eu-west-3\n"), "aws:eu-west-3", "aws"),
        (gcp("projects/1234/zones/us-central1-a"), "gcp:us-central1", "gcp"),
        (azure("westeurope"), "azure:westeurope", "azure"),
    ],
)
def test_each_cloud_tells_its_region(service: MetadataService, zone: str, found: str) -> None:
    where = told(service)
    assert (where.zone, where.found) == (zone, found)
    assert zone.partition(":")[2] in where.detail


def test_amazon_is_asked_with_a_token_that_lives_a_minute() -> None:
    service = aws("us-east-1")
    told(service)
    put, get = service.asked
    assert put[0] == "PUT"
    assert put[2]["x-aws-ec2-metadata-token-ttl-seconds"] == "60"
    assert get[1] == "/latest/meta-data/placement/region"


def test_never_more_than_one_field_is_asked_for() -> None:
    service = MetadataService()
    told(service)
    assert len(service.asked) == 3
    assert not any("recursive" in path or path.endswith("/") for _, path, _ in service.asked)


@pytest.mark.parametrize(
    ("service", "seen"),
    [
        (aws("nova"), "aws metadata says 'nova', no region that the table knows"),
        (aws("us-central1"), "aws metadata says 'us-central1'"),
        (aws("<html>login</html>"), "no region"),
        (azure("projects/1/zones/x-a"), "no region"),
        (gcp("us-central1-a"), ""),
        (gcp("projects/1/zones/mars-north1-a"), "gcp metadata says 'mars-north1'"),
        (gcp("projects/1/zones/us-central1-a", flavor="Hotel"), ""),
        (aws("x" * 5000), ""),
        (MetadataService(), ""),
    ],
)
def test_what_is_no_region_of_that_cloud_is_not_believed(service: MetadataService, seen: str) -> None:
    where = told(service)
    assert (where.zone, where.found) == ("", "unknown")
    assert seen in where.detail
    assert len(where.detail) < 120


def test_a_captive_portal_that_answers_everything_is_not_believed() -> None:
    """The same page for every path, as a hotel's network serves it."""
    service = aws("x")
    paths = [*service.answers, *azure("x").answers, *gcp("x").answers]
    service.answers = {path: (200, {}, "<html>Welcome</html>") for path in paths}
    assert told(service).zone == ""


def test_a_redirect_is_not_followed() -> None:
    with serving(aws("us-east-1")) as other:
        service = azure("")
        path = next(iter(service.answers))
        service.answers[path] = (302, {"Location": f"{other.url}{path[1]}"}, "")
        assert told(service).zone == ""
        assert other.asked == []


def test_no_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(aws("us-east-1")) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        told(azure("westeurope"))
        assert proxy.asked == []


def test_an_address_that_swallows_everything_costs_the_budget_and_no_more() -> None:
    """A socket that accepts and never answers: what is left of a metadata service behind a firewall."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began_s = time.monotonic()
        where = ask(SystemClock(), f"http://127.0.0.1:{silent.getsockname()[1]}", budget_s=0.15)
        took_s = time.monotonic() - began_s
    assert where == Located()
    assert took_s < 0.5
    assert BUDGET_S == 1.0


def test_a_cloud_that_does_not_answer_leaves_time_for_the_others() -> None:
    """Amazon's token does not come back through a container's bridge: a third of the time is lost, and not all."""
    service = azure("westeurope")
    service.held = ("PUT", "/latest/api/token")
    with serving(service):
        assert ask(SystemClock(), service.url, budget_s=0.6).zone == "azure:westeurope"


def test_nothing_there_is_no_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert ask(SystemClock(), f"http://127.0.0.1:{port}") == Located()
    assert ask(SystemClock(), "http://[::") == Located()
