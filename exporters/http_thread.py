"""A listening socket with an HTTP server in a thread of its own: start, stop, and what they need of the settings."""

from __future__ import annotations

import logging
import ssl
import threading
from typing import TYPE_CHECKING, Protocol

from agent.settings import ServerSettings
from exporters.limits import Limits
from exporters.listener import BoundedListener, address_text, is_loopback, listen, tls_context

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from exporters.serving import Server

log = logging.getLogger("joulecar.http")

START_S = 10.0  # a loaded machine may take this long to run a new thread
STOP_S = 0.9


class MakeApp(Protocol):
    """Makes the application, when it is needed: starlette is 20 MB that `once`, `check` and `replay` need not load."""

    def __call__(self, *, user: str, password: str) -> ASGIApp: ...


class HttpThread:
    """Serves one application. path: what of it the address in the log and in url names."""

    def __init__(self, settings: ServerSettings, application: MakeApp, limits: Limits, *, path: str, name: str) -> None:
        self._settings = settings
        self._application = application
        self._limits = limits
        self._path = path
        self._name = name
        self._port = 0
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; what the settings say until start()."""
        return self._port or self._settings.port

    @property
    def url(self) -> str:
        """Where it answers."""
        scheme = "http" if self._settings.tls_cert is None else "https"
        return f"{scheme}://{address_text(self._settings.host, self.port)}{self._path}"

    def start(self) -> None:
        """Listen and serve. When it returns, a scrape is answered.

        Raises OSError (address in use or not ours, certificate unusable) or ValueError (half of a setting).
        """
        user, password = self._login()
        settings = self._settings
        if (settings.tls_cert is None) != (settings.tls_key is None):
            raise ValueError(f"{settings.section}: tls_cert and tls_key go together, one of them is missing")
        section = settings.section
        tls = None
        if settings.tls_cert and settings.tls_key:
            tls = tls_context(settings.tls_cert, settings.tls_key, section=section)
        listener = listen(settings.host, settings.port, settings.max_connections, section=section)
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
            raise ValueError(
                f"{self._settings.section}: basic_auth needs a user and a password, one of them is missing"
            )
        return user, secret.value

    def _serve(self, listener: BoundedListener, user: str, password: str, tls: ssl.SSLContext | None) -> None:
        from exporters.serving import Server  # noqa: PLC0415 - loaded by those who serve

        self._server = Server(self._application(user=user, password=password), listener, tls, self._limits)
        self._thread = threading.Thread(target=self._server.serve_until_stopped, name=self._name, daemon=True)
        self._thread.start()
        if not self._server.settled.wait(START_S) or not self._server.started:
            self.stop()
            raise OSError("the HTTP server did not start")
