"""What `joulecar check` says of request spans."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.commands.report import Found
from agent.commands.span_lines import NOTHING, spans
from agent.otlp.decode import JSON
from agent.settings import EngineSettings, OtlpSettings, Secret, ServerSettings, Settings
from tests.fakes.clock import FakeClock
from tests.fakes.collector import FakeCollector

ENGINES = (
    EngineSettings("chat", "http://127.0.0.1:8000"),
    EngineSettings("agents", "http://h:1", span_service="agents-prod"),
)
OTLP = OtlpSettings(ServerSettings(port=4318), group_by=("tenant.id", "route"), max_groups=50)


def said(otlp: OtlpSettings | None, *, ask: bool = True, engines: tuple[EngineSettings, ...] = ENGINES) -> list[Found]:
    return list(spans(replace(Settings(), engines=engines, otlp=otlp), FakeClock(), ask=ask))


def test_without_a_receiver_nothing_is_said() -> None:
    assert said(None) == []


def test_where_they_are_received_whose_they_are_and_by_what_they_are_summed() -> None:
    receiver, groups = said(OTLP)
    assert (receiver.ok, receiver.detail) == (
        True,
        "http://127.0.0.1:4318/v1/traces, of services chat, agents-prod",
    )
    assert (groups.ok, groups.detail) == (True, "by tenant.id and route of spans or their resource, 50 at most")


def test_spans_of_no_engine_are_a_fault() -> None:
    receiver, _ = said(OTLP, engines=())
    assert (receiver.ok, receiver.fault) == (False, True)


def test_a_collector_that_takes_traces_is_found_by_an_export_without_any() -> None:
    with FakeCollector() as collector:
        otlp = replace(OTLP, forward_to=collector.url, forward_token=Secret("s3cret"))
        *_, forward = said(otlp)
        assert (forward.ok, forward.detail) == (True, f"{collector.url} takes traces")
        assert collector.taken == [("/v1/traces", JSON, "Bearer s3cret", NOTHING)]
        *_, named = said(otlp, ask=False)
        assert named.detail == collector.url and len(collector.taken) == 1


@pytest.mark.parametrize("address", ["http://127.0.0.1:1"])
def test_a_collector_that_is_not_there_has_its_reason_and_its_fix(address: str) -> None:
    *_, forward = said(replace(OTLP, forward_to=address, forward_token=Secret("s3cret")))
    assert (forward.ok, forward.fault) == (False, True)
    assert forward.detail == f"{address}: connection refused" and "forward_to" in forward.fix
    assert "s3cret" not in repr(forward)
