"""What `joulecar check` says of request spans: where they are received, whose they are, where they go on to."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from agent.commands.report import Found
from agent.errors import ReadFailed
from agent.otlp.decode import EXTRA, JSON
from agent.otlp.post import HttpPoster
from agent.otlp.receiver import PATH
from agent.ports import Clock
from agent.settings import OtlpSettings, Settings

NOTHING = b'{"resourceSpans": []}'


def spans(settings: Settings, clock: Clock, *, ask: bool) -> Iterator[Found]:
    """ask: the collector is sent an export without a span. Nothing, where no spans are received."""
    otlp = settings.otlp
    if otlp is None:
        return
    names = ", ".join(e.span_service or e.name for e in settings.engines)
    where = f"http://{otlp.server.host}:{otlp.server.port}{PATH}"
    told = f"{where}, of services {names}" if names else f"{where}; no engine is configured that they could be of"
    yield Found("otlp", "receiver", bool(names), told, fault=not names)
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.proto") is None:
        yield Found(
            "otlp", "protobuf", False, "spans in protobuf cannot be read, only those in JSON", EXTRA, fault=True
        )
    if otlp.group_by:
        by = " and ".join(otlp.group_by)
        yield Found("otlp", "groups", True, f"by {by} of spans or their resource, {otlp.max_groups} at most")
    if otlp.forward_to:
        yield _forward(otlp, clock) if ask else Found("otlp", "forward", True, otlp.forward_to)


def _forward(otlp: OtlpSettings, clock: Clock) -> Found:
    try:
        status = HttpPoster(otlp.forward_to, otlp.forward_token, clock).post(JSON, NOTHING)
    except ReadFailed as e:
        return Found("otlp", "forward", False, f"{otlp.forward_to}: {e.reason}", "check otlp.forward_to", fault=True)
    if not 200 <= status < 300:
        fix = "check otlp.forward_to and its token: a collector's port for OTLP over HTTP is 4318 as a rule"
        return Found("otlp", "forward", False, f"{otlp.forward_to}: http {status}", fix, fault=True)
    return Found("otlp", "forward", True, f"{otlp.forward_to} takes traces")
