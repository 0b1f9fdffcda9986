"""How providers ask: one GET, bounded in time and size, and an answer whose status is theirs to read.

Goes to no other host than the one asked, takes nothing from the environment (no proxy, no .netrc), keeps no
connection and logs nothing: a key may stand in a header or, with some providers, in the query.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

import httpx

from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.net import faults
from agent.net.body import read_body
from agent.net.deadline import DeadlineTransport
from agent.ports import Clock

MAX_BODY_BYTES = 4_000_000  # decompressed; two days of 5-minute rows are a tenth of that
MAX_REDIRECTS = 2
MAX_RETRY_AFTER_S = 86_400.0  # who asks for more is asked again after a day
_OK = 200
_URL_FORM = "https://HOST, or http://HOST for a server of your own"
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. Header names are in lower case; neither they nor the body show in a repr, since some
    answers carry a token."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


class Http(Protocol):
    """Asks a server of the network."""

    def get(self, url: str, *, params: Mapping[str, str], headers: Mapping[str, str], timeout_s: float) -> Answer:
        """The answer, whatever its status. params replace a query in url, unless there are none.

        Raises ReadFailed, in few stable words without the URL, where there was no whole answer in time, and
        Unavailable for a key that cannot be sent.
        """
        ...


class HttpxClient:
    """The real one. Threads may share it: every request has a connection of its own."""

    def __init__(self, clock: Clock, ssl_context: ssl.SSLContext | None = None) -> None:
        self._clock = clock
        self._ssl_context = ssl_context

    def get(self, url: str, *, params: Mapping[str, str], headers: Mapping[str, str], timeout_s: float) -> Answer:
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise Unavailable("the key holds characters that no HTTP header can carry", "write the key anew")
        try:
            return self._get(httpx.URL(url, params=dict(params)) if params else httpx.URL(url), headers, timeout_s)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as fault:
            raise ReadFailed(faults.reason(fault, timeout_s, url_form=_URL_FORM)) from None

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
    except (ReadFailed, httpx.TransportError):
        if response.status_code == _OK:
            raise
        return b""


def body_of(answer: Answer, provider: str) -> bytes:
    """The body of a 200. Raises what refused() makes of any other status."""
    if answer.status != _OK:
        raise refused(answer, provider)
    return answer.body


def refused(answer: Answer, provider: str) -> JoulecarError:
    """What a status that is not 200 means where the provider's own words do not say more. Never quotes the body."""
    status = answer.status
    said = f"{provider}: http {status}"
    if status == 401:
        return Unavailable(f"{said}: the key is missing or was refused", f"check the key in [grid.{provider}]")
    if status == 403:
        return Unavailable(
            f"{said}: not allowed for this key or this address", f"check the plan of your {provider} key"
        )
    if status == 404:
        return Unavailable(f"{said}: nothing there", f"check region and base_url in [grid.{provider}]")
    if status == 410:
        return Unavailable(f"{said}: the service has ended", f"take {provider} out of grid.providers")
    if status == 429:
        return ReadFailed(f"{said}: asked too often", retry_after_s(answer))
    if status >= 500:
        return ReadFailed(f"{said}: the server is in trouble", retry_after_s(answer))
    return ReadFailed(said)


def retry_after_s(answer: Answer) -> float | None:
    """Retry-After (RFC 9110, 10.2.3) in seconds, 0 to one day; None without one that can be understood. A date
    counts from the answer's own, so that neither clock need be right."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_S)
    until, sent = _date(text), _date(answer.headers.get("date", ""))
    if until is None or sent is None:
        return None
    return min(max(0.0, (until - sent).total_seconds()), MAX_RETRY_AFTER_S)


def _date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


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
