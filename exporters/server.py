"""The HTTP server in a thread of its own: reads the snapshot, never measures."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.ports import SnapshotSource
from agent.settings import ServerSettings
from exporters.limits import Limits
from exporters.listener import BoundedListener, address_text, is_loopback, listen, tls_context

if TYPE_CHECKING:
    from exporters.serving import Server

log = logging.getLogger("joulecar.http")

START_S = 10.0  # a loaded machine may take this long to run a new thread
STOP_S = 0.9


class HttpServer:
    """Serves /metrics, /healthz, /readyz, / and the JSON documents that it is given.

    live and ready give None when all is well, or say what is not. They are called for each request, from the
    server's thread, and must return at once.
    """

    def __init__(
        self,
        settings: ServerSettings,
        source: SnapshotSource,
        live: Callable[[], str | None],
        ready: Callable[[], str | None],
        *,
        documents: Mapping[str, Callable[[], bytes]] = MappingProxyType({}),
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self._settings = settings
        self._source = source
        self._live = live
        self._ready = ready
        self._documents = documents
        self._limits = limits
        self._port = 0
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; what the settings say until start()."""
        return self._port or self._settings.port

    @property
    def url(self) -> str:
        """Where the metrics are."""
        scheme = "http" if self._settings.tls_cert is None else "https"
        return f"{scheme}://{address_text(self._settings.host, self.port)}/metrics"

    def start(self) -> None:
        """Listen and serve. When it returns, a scrape is answered.

        Raises OSError (address in use or not ours, certificate unusable) or ValueError (half of a setting).
        """
        user, password = self._login()
        settings = self._settings
        if (settings.tls_cert is None) != (settings.tls_key is None):
            raise ValueError("server: tls_cert and tls_key go together, one of them is missing")
        tls = tls_context(settings.tls_cert, settings.tls_key) if settings.tls_cert and settings.tls_key else None
        listener = listen(settings.host, settings.port, settings.max_connections)
        try:
            self._serve(listener, user, password, tls)
        except BaseException:
            listener.close()
            raise
        self._port = int(listener.getsockname()[1])
        if not is_loopback(settings.host) and (tls is None or not user):
            missing = " and ".join(what for what, there in (("TLS", tls), ("a password", user)) if not there)
            log.warning("%s is open to the network without %s", self.url, missing)

    def stop(self) -> None:
        """Hang up and end the thread, within a second. Safe before start() and twice."""
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join(STOP_S)
            if self._thread.is_alive():
                log.error("the HTTP server did not stop in %.1f s", STOP_S)
        self._server = self._thread = None

    def _login(self) -> tuple[str, str]:
        user, secret = self._settings.basic_auth_user, self._settings.basic_auth_password
        if not user and secret is None:
            return "", ""
        if not user or secret is None or not secret.value:
            raise ValueError("server: basic_auth needs a user and a password, one of them is missing")
        return user, secret.value

    def _serve(self, listener: BoundedListener, user: str, password: str, tls: ssl.SSLContext | None) -> None:
        # 20 MB that `once`, `check` and `replay` need not load.
        from exporters.prometheus import Exposition  # noqa: PLC0415 - as said
        from exporters.serving import Server  # noqa: PLC0415
        from exporters.web import application  # noqa: PLC0415

        render = Exposition(self._source).render
        app = application(render, self._live, self._ready, self._documents, user=user, password=password)
        self._server = Server(app, listener, tls, self._limits)
        self._thread = threading.Thread(target=self._server.serve_until_stopped, name="http", daemon=True)
        self._thread.start()
        if not self._server.settled.wait(START_S) or not self._server.started:
            self.stop()
            raise OSError("the HTTP server did not start")
