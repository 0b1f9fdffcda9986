"""HTTP with one deadline for the whole exchange.

httpx bounds every single read; a server that sends a byte a second keeps such a client for ever. Here every
connect, read and write gets what is left of the time until the deadline. Connections are not kept: servers drop
idle ones after about as long as scrapes are apart, and a dropped one looks like a failure. Name resolution is the
one step that the operating system alone bounds.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import httpcore
import httpx

from agent.ports import Clock

_FAULTS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (  # the specific before the general
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.TimeoutException, httpx.ReadTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.NetworkError, httpx.ReadError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
    (httpcore.ProtocolError, httpx.RemoteProtocolError),
)


class DeadlineTransport(httpx.BaseTransport):
    """A transport whose every operation ends at the deadline that was set last. One exchange at a time."""

    def __init__(self, clock: Clock, ssl_context: ssl.SSLContext | None = None) -> None:
        self._clock = clock
        self._deadline_mono_s = float("inf")
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=_Backend(self._left_s),
        )

    def set_deadline(self, mono_s: float) -> None:
        """From now on nothing goes on beyond this moment of the monotonic clock."""
        self._deadline_mono_s = mono_s

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises httpx.TransportError."""
        inner = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=cast(Iterable[bytes], request.stream),
            extensions=request.extensions,
        )
        try:
            response = self._pool.handle_request(inner)
        except Exception as fault:
            raise _mapped(fault) from fault
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    def close(self) -> None:
        self._pool.close()

    def _left_s(self) -> float:
        return self._deadline_mono_s - self._clock.now().mono_s


def _mapped(fault: Exception) -> Exception:
    return next((to(str(fault)) for of, to in _FAULTS if isinstance(fault, of)), fault)


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_stream()
        except Exception as fault:
            raise _mapped(fault) from fault

    def close(self) -> None:
        self._response.close()


class _Backend(httpcore.NetworkBackend):
    def __init__(self, left_s: Callable[[], float]) -> None:
        self._left_s = left_s
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = _bounded(timeout, self._left_s(), httpcore.ConnectTimeout)
        stream = self._inner.connect_tcp(host, port, left_s, local_address, socket_options)
        return _Stream(stream, self._left_s)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, left_s: Callable[[], float]) -> None:
        self._inner = inner
        self._left_s = left_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _bounded(timeout, self._left_s(), httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _bounded(timeout, self._left_s(), httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left_s = _bounded(timeout, self._left_s(), httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left_s), self._left_s)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _bounded(timeout: float | None, left_s: float, too_late: type[Exception]) -> float:
    if left_s <= 0:
        raise too_late("deadline")
    return left_s if timeout is None else min(timeout, left_s)
