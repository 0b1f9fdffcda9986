"""uvicorn with every wait bounded: one exchange, one idle connection, one TLS handshake, the stop.

Imported only when a server starts: uvicorn and starlette cost about 8 MB.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from exporters.limits import Limits


class _Config(uvicorn.Config):
    """uvicorn's configuration, and ours."""

    limits = Limits()


class _Connection(H11Protocol):
    """A connection with a deadline for each exchange, against clients that send or read a byte at a time."""

    _deadline: asyncio.TimerHandle | None = None

    @property
    def _limits(self) -> Limits:
        return self.config.limits if isinstance(self.config, _Config) else Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in H11Protocol
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        self._arm()
        super().data_received(data)

    def on_response_complete(self) -> None:
        if self.conn.trailing_data[0]:
            self.transport.close()  # pipelining: no scraper does it, and one client could keep the thread busy
        super().on_response_complete()
        if not self.transport.is_closing() and not self.transport.get_write_buffer_size():
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.exchange_s, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Loop(asyncio.SelectorEventLoop):
    """An event loop whose TLS handshakes and farewells end."""

    handshake_s: float = 5.0  # Server sets its own

    async def create_server(self, *args: Any, ssl: ssl.SSLContext | None = None, **options: Any) -> asyncio.Server:  # type: ignore[override]  # asyncio has two overloads
        if ssl is not None:
            options.update(ssl_handshake_timeout=self.handshake_s, ssl_shutdown_timeout=self.handshake_s)
        return await super().create_server(*args, ssl=ssl, **options)


class Server(uvicorn.Server):
    """Serves one application on a socket that already listens, from the thread that calls run()."""

    def __init__(self, app: ASGIApp, listener: socket.socket, tls: ssl.SSLContext | None, limits: Limits) -> None:
        config = _Config(
            app,
            loop=f"{__name__}:_Loop",
            http=_Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            workers=1,
            log_config=None,
            log_level="critical",  # what a stranger sends is not worth a line each
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=limits.header_bytes,
            timeout_keep_alive=limits.keep_alive_s,
        )
        config.limits = limits
        config.load()
        config.ssl = tls
        super().__init__(config)
        self._listener = listener
        self._limits = limits
        self._wake: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.settled = threading.Event()  # it serves (started), or it failed to

    def serve_until_stopped(self) -> None:
        try:
            self.run(sockets=[self._listener])
        finally:
            self.settled.set()

    def stop(self) -> None:
        """From any thread, at any time, any number of times."""
        self.should_exit = True
        if self._loop is not None and self._wake is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        if isinstance(self._loop, _Loop):
            self._loop.handshake_s = self._limits.handshake_s
        await super().startup(sockets)
        self.settled.set()

    async def main_loop(self) -> None:
        # uvicorn's own wakes ten times a second, all day, to see whether it should stop.
        assert self._wake is not None
        while not await self.on_tick(0):
            try:
                await asyncio.wait_for(self._wake.wait(), timeout=1.0)
            except TimeoutError:
                continue

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let answers under way finish for a moment, then hang up on everybody."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks, timeout=self._limits.finish_s)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
