"""The HTTP server in a thread of its own: reads the snapshot, never measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.ports import SnapshotSource
from agent.settings import ServerSettings
from exporters.http_thread import HttpThread
from exporters.limits import Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp


class HttpServer(HttpThread):
    """Serves /metrics, /healthz, /readyz, / and the JSON documents that it is given.

    live and ready give None when all is well, or say what is not. They are called for each request, from the
    server's thread, and must return at once. answers are documents that depend on the query,
    with their status.
    """

    def __init__(
        self,
        settings: ServerSettings,
        source: SnapshotSource,
        live: Callable[[], str | None],
        ready: Callable[[], str | None],
        *,
        documents: Mapping[str, Callable[[], bytes]] = MappingProxyType({}),
        answers: Mapping[str, Callable[[Mapping[str, str]], tuple[int, bytes]]] = MappingProxyType({}),
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        def application(*, user: str, password: str) -> ASGIApp:
            from exporters.prometheus import Exposition  # noqa: PLC0415 - 20 MB that `once` and `check` need not load
            from exporters.web import application as pages  # noqa: PLC0415

            render = Exposition(source).render
            return pages(render, live, ready, documents, answers, user=user, password=password)

        super().__init__(settings, application, limits, path="/metrics", name="http")
