"""The pages as one ASGI application: /metrics, /healthz, /readyz and a front page. No handler touches the world."""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exporters.exposition import accepts_gzip

log = logging.getLogger("joulecar.http")

Render = Callable[[str], tuple[bytes, str]]  # Accept header -> (page, content type)
Check = Callable[[], str | None]  # None: well; else what is wrong
Documents = Mapping[str, Callable[[], bytes]]  # path -> a JSON document, made anew for each request
Answer = tuple[int, bytes]  # status, a JSON document
Answers = Mapping[str, Callable[[Mapping[str, str]], Answer]]  # path -> what a query gets

OPEN_PATH = "/healthz"  # needs no password: whoever restarts the agent has none
_GZIP_LEVEL = 1  # label text shrinks nearly as well as at 9, in a third of the time

_FRONT_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Joulecar</title></head>
<body><h1>Joulecar</h1><p>What inference costs in energy and carbon.</p>
<ul><li><a href="/metrics">/metrics</a> for Prometheus</li>
<li><a href="/healthz">/healthz</a> the agent lives</li>
<li><a href="/readyz">/readyz</a> the agent measures</li></ul></body></html>
"""


def application(
    render: Render,
    live: Check,
    ready: Check,
    documents: Documents,
    answers: Answers,
    *,
    user: str = "",
    password: str = "",
) -> ASGIApp:
    """The whole application. With a user, every page but /healthz asks for user and password."""
    pages = _Pages(render, live, ready)
    app = Starlette(
        routes=[
            Route("/", pages.front),
            Route("/metrics", pages.metrics),
            Route("/healthz", pages.healthz),
            Route("/readyz", pages.readyz),
            *(Route(path, _document(_without_query(make))) for path, make in documents.items()),
            *(Route(path, _document(make)) for path, make in answers.items()),
        ]
    )
    app.router.redirect_slashes = False  # a redirect would repeat a Host header that anyone may set
    return _Door(app, user, password)


def _without_query(make: Callable[[], bytes]) -> Callable[[Mapping[str, str]], Answer]:
    return lambda _: (200, make())


def _document(make: Callable[[Mapping[str, str]], Answer]) -> Callable[[Request], Awaitable[Response]]:
    """Many agents may ask for one document every minute: who has it already gets no body."""

    async def answer(request: Request) -> Response:
        status, body = make(request.query_params)
        if status != 200:
            return Response(body, status, media_type="application/json", headers={"cache-control": "no-store"})
        # Weak, since one tag stands for the plain document and for the compressed one.
        tag = f'W/"{digest(body).hex()[:32]}"'
        headers = {"etag": tag, "cache-control": "no-cache", "vary": "Accept-Encoding, Authorization"}
        if _names(request.headers.getlist("if-none-match"), tag):
            return Response(status_code=304, headers=headers)
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers["content-encoding"] = "gzip"
        return Response(body, media_type="application/json", headers=headers)

    return answer


def _names(if_none_match: list[str], tag: str) -> bool:
    """Whether the one who asks has that version: RFC 9110, 13.1.2, with the weak comparison."""
    theirs = [text.strip().removeprefix("W/") for line in if_none_match for text in line.split(",")]
    return "*" in theirs or tag.removeprefix("W/") in theirs


class _Pages:
    def __init__(self, render: Render, live: Check, ready: Check) -> None:
        self._render = render
        self._live = live
        self._ready = ready
        self._broken = False

    async def front(self, _: Request) -> Response:
        return HTMLResponse(_FRONT_PAGE)

    async def metrics(self, request: Request) -> Response:
        try:
            body, content_type = self._render(request.headers.get("accept", ""))
        except Exception:  # whatever it is, the next scrape is answered and the log is not flooded
            if not self._broken:
                log.exception("the metrics page cannot be written; this is said once until it can be again")
            self._broken = True
            return PlainTextResponse("the metrics page cannot be written, see the agent's log\n", 500)
        if self._broken:
            log.info("the metrics page can be written again")
            self._broken = False
        headers = {
            "content-type": content_type,
            "cache-control": "no-store",
            "vary": "Accept, Accept-Encoding, Authorization",
        }
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            body = gzip.compress(body, _GZIP_LEVEL, mtime=0)
            headers["content-encoding"] = "gzip"
        return Response(body, headers=headers)

    async def healthz(self, _: Request) -> Response:
        return _verdict(self._live())

    async def readyz(self, _: Request) -> Response:
        return _verdict(self._ready())


def _verdict(trouble: str | None) -> Response:
    return PlainTextResponse("ok\n") if trouble is None else PlainTextResponse(trouble + "\n", 503)


class _Door:
    """What is turned away before any page sees it: strangers, methods that change things, and bodies."""

    def __init__(self, app: ASGIApp, user: str, password: str) -> None:
        self._app = app
        self._expected = digest(f"{user}:{password}".encode()) if user else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := self._refusal(scope)) is not None:
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._expected is not None and scope["path"] != OPEN_PATH:
            given = credentials(headers.get("authorization", ""))
            # Digests have one length, so the comparison tells nothing about the password's.
            if not hmac.compare_digest(digest(given or b""), self._expected) or given is None:
                challenge = {"www-authenticate": 'Basic realm="joulecar", charset="UTF-8"'}
                return _turned_away("user and password needed", 401, challenge)
        if scope["method"] not in ("GET", "HEAD"):
            return _turned_away("only GET and HEAD", 405, {"allow": "GET, HEAD"})
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            return _turned_away("a request needs no body here", 413, {})
        return None


def _turned_away(text: str, status: int, headers: dict[str, str]) -> Response:
    # The connection ends here, so that no body is ever read.
    return PlainTextResponse(text + "\n", status, headers={**headers, "connection": "close"})


def digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()


def credentials(authorization: str) -> bytes | None:
    """user:password of a Basic Authorization header, or None."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
