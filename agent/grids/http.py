"""How providers ask: one GET, bounded in time and size, and an answer whose status is theirs to read.

Goes to no other host than the one asked, takes nothing from the environment (no proxy, no .netrc), keeps no
connection and logs nothing: a key may stand in a header or, with some providers, in the query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Protocol

from agent.errors import JoulecarError, ReadFailed, Unavailable
from agent.grids.payload import Why, bad

MAX_BODY_BYTES = 4_000_000  # decompressed; two days of 5-minute rows are a tenth of that
MAX_RETRY_AFTER_S = 86_400.0  # who asks for more is asked again after a day
OK = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. Header names are in lower case; neither they nor the body show in a repr, since some
    answers carry a token."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


class BodyError(ReadFailed):
    """A 200 whose body cannot be had: too large, or its compression is broken."""

    def __init__(self, reason: str, why: Why) -> None:
        super().__init__(reason)
        self.why = why


class Http(Protocol):
    """Asks a server of the network."""

    def get(self, url: str, *, params: Mapping[str, str], headers: Mapping[str, str], timeout_s: float) -> Answer:
        """The answer, whatever its status. params replace a query in url, unless there are none.

        Raises ReadFailed, in few stable words without the URL, where there was no whole answer in time (BodyError
        where its body cannot be had), and Unavailable for a key that cannot be sent.
        """
        ...


_NONE: Mapping[str, str] = MappingProxyType({})


class Asking:
    """A provider's server. Its refused bodies name the provider, as every other fault of an answer does."""

    def __init__(self, provider: str, http: Http, base_url: str, timeout_s: float) -> None:
        """timeout_s: of one answer."""
        self._provider = provider
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s

    def get(self, path: str, params: Mapping[str, str] = _NONE, headers: Mapping[str, str] = _NONE) -> Answer:
        try:
            return self._http.get(self._base_url + path, params=params, headers=headers, timeout_s=self._timeout_s)
        except BodyError as error:
            raise bad(self._provider, "answer:", error.reason, error.why) from None

    def body(self, path: str, params: Mapping[str, str] = _NONE, headers: Mapping[str, str] = _NONE) -> bytes:
        """The body of a 200. Raises what refused() makes of any other status."""
        return body_of(self.get(path, params, headers), self._provider)


def body_of(answer: Answer, provider: str) -> bytes:
    """The body of a 200. Raises what refused() makes of any other status."""
    if answer.status != OK:
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
