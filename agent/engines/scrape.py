"""Scrapes an engine over HTTP. Whatever the server does, the answer is a sample or a failure with its reason."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import httpx

from agent.engines.page import read_page
from agent.engines.table import ENGINES
from agent.errors import ReadFailed
from agent.model import EngineFailure, EngineSample, Instant
from agent.net import faults
from agent.net.body import read_body
from agent.net.deadline import DeadlineTransport
from agent.net.faults import cause, origin
from agent.ports import Clock
from agent.settings import EngineSettings

MAX_PAGE_BYTES = 8_000_000  # a page of 100 models and 16 ranks is a twentieth of that
MAX_REDIRECTS = 2
_ACCEPT = "text/plain;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.8,*/*;q=0.1"
_MAX_FAULT_BYTES = 4096  # read of an answer that says why it is none


class _Refused(ReadFailed):
    """An answer that is no page."""

    def __init__(self, reason: str, *, not_serving: bool = False, elsewhere: bool = False) -> None:
        super().__init__(reason)
        self.not_serving = not_serving
        self.elsewhere = elsewhere  # nothing at this path: another one may be right


@dataclass(frozen=True, slots=True)
class _Page:
    """A page and the moment it stands for: the middle between the request's start and the answer's end."""

    url: httpx.URL
    body: bytes
    at: Instant


class HttpEngineReader:
    """An engine's page by HTTP: an implementation of ports.EngineReader. One scrape at a time.

    settings.url is the server's root, its API's base or its metrics page. settings.timeout_s bounds the whole
    scrape. With client given, the caller's timeouts and TLS hold instead.
    """

    def __init__(
        self, settings: EngineSettings, clock: Clock, client: httpx.Client | None = None, keep_page: bool = False
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._keep_page = keep_page
        self._given_client = client
        self._client: httpx.Client | None = client
        self._transport: DeadlineTransport | None = None
        self._usual: tuple[httpx.URL, ...] = ()  # where the page may be; made once
        self._found: httpx.URL | None = None  # the page that worked last
        self._kind = settings.kind  # recognised once, then known

    @property
    def name(self) -> str:
        return self._settings.name

    def sample(self) -> EngineSample | EngineFailure:
        """Scrape now. Never raises."""
        try:
            return self._scrape(self._clock.now().mono_s + self._settings.timeout_s)
        except _Refused as refused:
            return self._failure(refused.reason, not_serving=refused.not_serving)
        except ReadFailed as failed:
            return self._failure(failed.reason)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as fault:
            return self._failure(self._reason(fault), not_serving=_refused_connection(fault))

    def close(self) -> None:
        if self._given_client is None and self._client is not None:
            self._client.close()
        self._client, self._transport = self._given_client, None

    def _failure(self, reason: str, *, not_serving: bool = False) -> EngineFailure:
        return EngineFailure(self.name, self._clock.now(), reason, not_serving)

    def _scrape(self, deadline_mono_s: float) -> EngineSample:
        """The first of the possible pages that is the engine's."""
        refusals: list[tuple[httpx.URL, ReadFailed]] = []
        candidates = self._usual = self._usual or self._candidates()
        known_first = (self._found, *candidates) if self._found is not None else candidates
        for url in dict.fromkeys(known_first):
            try:
                page = self._get(url, deadline_mono_s)
                sample = self._read(page)
            except ReadFailed as refused:
                refusals.append((url, refused))
                if isinstance(refused, _Refused) and not refused.elsewhere:
                    break
                continue
            self._found, self._kind = page.url, sample.kind
            return sample
        self._kind = self._settings.kind
        self._found = None if not _says_wait(refusals[-1][1]) else self._found
        said = [r for _, r in refusals if not (isinstance(r, _Refused) and r.elsewhere)]
        if said:
            raise said[0]
        raise _Refused(f"{refusals[0][1].reason}: no metrics page at " + ", ".join(u.path for u in candidates))

    def _read(self, page: _Page) -> EngineSample:
        settings = self._settings
        return read_page(
            page.body,
            engine=settings.name,
            at=page.at,
            kind=self._kind,
            model=settings.model or page.url.params.get("model", ""),  # llama-server's router
            custom=settings.custom,
            keep_page=self._keep_page,
        )

    def _candidates(self) -> tuple[httpx.URL, ...]:
        """Where the page may be: as given if that names a page, else the usual paths."""
        text = self._settings.url if "://" in self._settings.url else f"http://{self._settings.url}"
        url = httpx.URL(text)
        path = url.path.rstrip("/")
        if path.endswith("/metrics") or url.params.get("model"):
            return (url,)
        specs = ENGINES.values() if self._settings.kind not in ENGINES else (ENGINES[self._settings.kind],)
        usual = list(dict.fromkeys(p for spec in specs for p in spec.metrics_paths))
        paths = [path, path + "/metrics", *usual] if path else usual
        return tuple(url.copy_with(path=p) for p in dict.fromkeys(paths))

    def _get(self, url: httpx.URL, deadline_mono_s: float) -> _Page:
        client = self._opened()
        if self._transport is not None:
            self._transport.set_deadline(deadline_mono_s)
        start = self._clock.now()
        for _ in range(MAX_REDIRECTS + 1):
            left_s = deadline_mono_s - self._clock.now().mono_s
            if left_s <= 0:
                raise httpx.ReadTimeout("deadline")
            with client.stream("GET", url, headers=self._headers(), timeout=left_s) as response:
                if response.has_redirect_location:
                    url = self._redirected(response)
                    continue
                if response.status_code != httpx.codes.OK:
                    raise self._refusal(response)
                body = read_body(response, MAX_PAGE_BYTES)
            end = self._clock.now()
            at = Instant((start.mono_s + end.mono_s) / 2, (start.wall_s + end.wall_s) / 2)
            return _Page(url, body, at)
        raise _Refused("too many redirects")

    def _opened(self) -> httpx.Client:
        if self._client is None:
            self._transport = DeadlineTransport(self._clock, self._ssl_context())
            self._client = httpx.Client(transport=self._transport, trust_env=False, follow_redirects=False)
        return self._client

    def _ssl_context(self) -> ssl.SSLContext | None:
        settings = self._settings
        if not settings.url.startswith("https:"):
            return None
        try:
            context = ssl.create_default_context(cafile=str(settings.tls_ca) if settings.tls_ca else None)
        except (OSError, ssl.SSLError):
            raise ReadFailed("tls_ca cannot be read") from None
        if not settings.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _headers(self) -> dict[str, str]:
        # Uncompressed: the engine's processor has better things to do, and the page is small.
        headers = {"accept": _ACCEPT, "accept-encoding": "identity", "connection": "close"}
        if self._settings.token is not None:
            headers["authorization"] = f"Bearer {self._settings.token.value}"
        return headers

    def _redirected(self, response: httpx.Response) -> httpx.URL:
        """Where an answer sends us, if that is the same server: the token goes nowhere else."""
        target = response.url.join(response.headers["location"])
        if origin(target) != origin(response.url):
            raise _Refused(f"redirect to another host: {origin(target)}")
        return target

    def _refusal(self, response: httpx.Response) -> _Refused:
        status = response.status_code
        reason = f"http {status}"
        if status in (401, 403):
            had_one = self._settings.token is not None
            return _Refused(f"{reason}: " + ("the token was refused" if had_one else "set token_env or token_file"))
        if status in (404, 405):
            return _Refused(reason, elsewhere=True)
        if status == 501:
            return _Refused(f"{reason}: metrics are switched off (llama-server: --metrics)")
        if status == 503 and b"loading" in _beginning(response).lower():
            return _Refused(f"{reason}: loading", not_serving=True)
        return _Refused(reason)

    def _reason(self, fault: Exception) -> str:
        return faults.reason(
            fault, self._settings.timeout_s, url_form="http://HOST:PORT or https://HOST:PORT", tls_fix="set tls_ca"
        )


def _says_wait(refused: ReadFailed) -> bool:
    """Whether the same page may be right next time."""
    return isinstance(refused, _Refused) and not refused.elsewhere


def _beginning(response: httpx.Response) -> bytes:
    try:
        return read_body(response, _MAX_FAULT_BYTES)
    except ReadFailed:
        return b""


def _refused_connection(fault: Exception) -> bool:
    return isinstance(cause(fault), ConnectionRefusedError)
