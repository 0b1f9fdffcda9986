"""The real HTTP client that providers ask with."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import httpx

from agent.errors import ReadFailed, Unavailable
from agent.grids.conditional import Versions
from agent.grids.http import MAX_BODY_BYTES, OK, Answer, BodyError
from agent.grids.payload import Why
from agent.net import faults
from agent.net.body import TooLarge, read_body
from agent.net.deadline import DeadlineTransport
from agent.ports import Clock

MAX_REDIRECTS = 2
_URL_FORM = "https://HOST, or http://HOST for a server of your own"
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_NOT_MODIFIED = 304


class HttpxClient:
    """The real one. Threads may share it: every request has a connection of its own.

    Where the last answer named its version it asks for a newer one alone, and a 304 becomes that answer again.
    """

    def __init__(self, clock: Clock, ssl_context: ssl.SSLContext | None = None) -> None:
        self._clock = clock
        self._ssl_context = ssl_context
        self._versions = Versions()

    def get(self, url: str, *, params: Mapping[str, str], headers: Mapping[str, str], timeout_s: float) -> Answer:
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise Unavailable("the key holds characters that no HTTP header can carry", "write the key anew")
        try:
            whole = httpx.URL(url, params=dict(params)) if params else httpx.URL(url)
            return self._if_changed(whole, headers, timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as fault:
            raise ReadFailed(faults.reason(fault, timeout_s, url_form=_URL_FORM)) from None

    def _if_changed(self, url: httpx.URL, headers: Mapping[str, str], timeout_s: float) -> Answer:
        answer = self._get(url, {**self._versions.questions(str(url), headers), **headers}, timeout_s)
        if answer.status == OK:
            self._versions.keep(str(url), headers, answer.headers, answer.body)
        elif answer.status == _NOT_MODIFIED and (same := self._versions.unchanged(str(url), headers)) is not None:
            return Answer(OK, answer.headers, same)
        return answer

    def _get(self, url: httpx.URL, headers: Mapping[str, str], timeout_s: float) -> Answer:
        transport = DeadlineTransport(self._clock, self._context(url))
        transport.set_deadline(self._clock.now().mono_s + timeout_s)
        try:
            for _ in range(MAX_REDIRECTS + 1):
                # Below httpx's client, which writes every URL to the log.
                request = httpx.Request("GET", url, headers={**_usual_headers(), **headers})
                response = transport.handle_request(request)
                try:
                    location = response.headers.get("location")
                    if location is None or response.status_code not in _REDIRECTS:
                        return Answer(response.status_code, dict(response.headers), _body(response))
                finally:
                    response.close()
                url = _redirected(url, location)
            raise ReadFailed("too many redirects")
        finally:
            transport.close()

    def _context(self, url: httpx.URL) -> ssl.SSLContext | None:
        """The public authorities, since slim images come without any, and what this machine trusts besides."""
        if url.scheme == "https" and self._ssl_context is None:
            context = httpx.create_ssl_context(trust_env=False)
            context.load_default_certs()
            self._ssl_context = context
        return self._ssl_context


def _body(response: httpx.Response) -> bytes:
    """Of an answer that is none the status says enough: its body may be missing."""
    try:
        return read_body(response, MAX_BODY_BYTES, in_lines=False)
    except (ReadFailed, httpx.TransportError) as fault:
        if response.status_code != OK:
            return b""
        if isinstance(fault, ReadFailed):
            raise BodyError(fault.reason, Why.TOO_LARGE if isinstance(fault, TooLarge) else Why.UNREADABLE) from None
        raise


def _usual_headers() -> dict[str, str]:
    return {
        "accept": "application/json, */*;q=0.5",
        "accept-encoding": "gzip",
        "connection": "close",
        "user-agent": "joulecar",
    }


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    """Where an answer sends us, if that is the same server: the key goes nowhere else."""
    target = url.join(location)
    if faults.origin(target) != faults.origin(url):
        raise ReadFailed(f"redirect to another host: {faults.origin(target)[:80]}")
    return target
