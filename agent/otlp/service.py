"""Spans in and out as the agent uses them: the receiver, and what passes traces on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

from agent.health import Health
from agent.model import Part, RequestEnergy, RequestSpan
from agent.otlp.decode import EXTRA
from agent.otlp.forward import Forwarder
from agent.otlp.held import Key
from agent.otlp.post import HttpPoster
from agent.otlp.receiver import NAME, Receiver
from agent.otlp.reply import Reply
from agent.ports import Clock
from agent.settings import EngineSettings, OtlpSettings


class Spans:
    """Wired once. forward is a step for a thread of its own; None: nothing is passed on."""

    def __init__(self, settings: OtlpSettings, engines: Sequence[EngineSettings], clock: Clock, health: Health) -> None:
        self._forwarder = _forwarder(settings, clock, health)
        self._receiver = Receiver(
            engines,
            health,
            lambda: clock.now().wall_s,
            group_by=settings.group_by,
            max_body=settings.max_body,
            keep=None if self._forwarder is None else self._forwarder.keep,
            mono_s=lambda: clock.now().mono_s,
        )
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.proto") is None:
            health.failed(Part.OTLP, NAME, "spans in protobuf cannot be read, only those in JSON", EXTRA)

    @property
    def forward(self) -> Callable[[], None] | None:
        return None if self._forwarder is None else self._forwarder.step

    def receive(self, content_type: str, encoding: str, body: bytes | None) -> Reply:
        return self._receiver.receive(content_type, encoding, body)

    def drain(self) -> tuple[RequestSpan, ...]:
        return self._receiver.drain()

    def end(self) -> None:
        """The next drain() is the last one."""
        self._receiver.end()

    def finish(self) -> None:
        """After the last drain(), and what became of it: what waits for the collector is sent."""
        if self._forwarder is not None:
            self._forwarder.finish()

    def attributed(self, found: Sequence[RequestEnergy]) -> None:
        if self._forwarder is not None:
            self._forwarder.attributed(found)

    def refused(self, keys: Sequence[Key]) -> None:
        if self._forwarder is not None:
            self._forwarder.refused(keys)


def _forwarder(settings: OtlpSettings, clock: Clock, health: Health) -> Forwarder | None:
    if not settings.forward_to:
        return None
    poster = HttpPoster(settings.forward_to, settings.forward_token, clock)
    return Forwarder(poster.post, clock, health)
