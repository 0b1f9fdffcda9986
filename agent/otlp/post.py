"""Posts a body to the user's collector: one exchange, one deadline, no redirects, no secret in any error."""

from __future__ import annotations

import gzip
import ssl

import httpx

from agent.errors import ReadFailed
from agent.net import faults
from agent.net.deadline import DeadlineTransport
from agent.ports import Clock
from agent.settings import Secret

TIMEOUT_S = 10.0
_URL_FORM = "https://HOST:PORT, or http://HOST:PORT for a collector of your own"


class HttpPoster:
    """post() raises ReadFailed if no answer came, and gives its status else."""

    def __init__(self, base_url: str, token: Secret | None, clock: Clock) -> None:
        path = "" if base_url.endswith("/v1/traces") else "/v1/traces"
        self._url = base_url.rstrip("/") + path
        self._token = token
        self._clock = clock
        self._context: ssl.SSLContext | None = None

    def post(self, content_type: str, body: bytes) -> int:
        headers = {"content-type": content_type, "content-encoding": "gzip", "user-agent": "joulecar"}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token.value}"
        try:
            if self._url.startswith("https") and self._context is None:
                self._context = httpx.create_ssl_context(trust_env=False)
                self._context.load_default_certs()
            transport = DeadlineTransport(self._clock, self._context)
            transport.set_deadline(self._clock.now().mono_s + TIMEOUT_S)
            try:
                packed = gzip.compress(body, 1, mtime=0)
                response = transport.handle_request(httpx.Request("POST", self._url, headers=headers, content=packed))
                response.close()
                return response.status_code
            finally:
                transport.close()
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as fault:
            raise ReadFailed(faults.reason(fault, TIMEOUT_S, url_form=_URL_FORM)) from None
