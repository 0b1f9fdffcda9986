"""An HTTP server that takes what others post: bodies of a bounded size, at one path, read whole and handed on."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from agent.settings import ServerSettings
from exporters.http_thread import HttpThread, MakeApp
from exporters.limits import Limits

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp


class Answered(Protocol):
    """What the receiver says: agent.otlp.reply.Reply."""

    @property
    def status(self) -> int: ...
    @property
    def content_type(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def headers(self) -> Mapping[str, str] | None: ...


CLOSE = {"connection": "close"}  # so that no more of a body is read
GRPC = "application/grpc"  # what receive is told of a sender that speaks it
Receive = Callable[[str, str, bytes | None], Answered]  # content type, content encoding, body; None: it is too large


class IntakeServer(HttpThread):
    """Takes POST at one path. receive is called in the server's thread: while it works, senders wait."""

    def __init__(
        self,
        settings: ServerSettings,
        path: str,
        receive: Receive,
        *,
        max_body: int,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(settings, _intake(path, receive, max_body), limits, path=path, name="intake")


def _intake(path: str, receive: Receive, max_body: int) -> MakeApp:
    def application(*, user: str, password: str) -> ASGIApp:
        from starlette.applications import Starlette  # noqa: PLC0415 - loaded by those who serve
        from starlette.requests import ClientDisconnect  # noqa: PLC0415
        from starlette.responses import PlainTextResponse, Response  # noqa: PLC0415
        from starlette.routing import Route  # noqa: PLC0415

        from exporters.web import credentials, digest  # noqa: PLC0415

        expected = digest(f"{user}:{password}".encode()) if user else None

        def away(text: str, status: int, **headers: str) -> Response:
            return PlainTextResponse(text + "\n", status, headers={**headers, **CLOSE})

        def answer(said: Answered, **more: str) -> Response:
            headers = {"content-type": said.content_type, "cache-control": "no-store", **(said.headers or {}), **more}
            return Response(said.body, said.status, headers=headers)

        async def take(request: Request) -> Response:
            given = credentials(request.headers.get("authorization", ""))
            if expected is not None and not hmac.compare_digest(digest(given or b""), expected):
                return away("user and password needed", 401, **{"www-authenticate": 'Basic realm="joulecar"'})
            headers = request.headers
            kind, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
            length = headers.get("content-length", "0")
            if not length.isascii() or not length.isdigit() or int(length[:18]) > max_body:
                return answer(receive(kind, encoding, None), **CLOSE)
            body = bytearray()
            try:
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > max_body:
                        return answer(receive(kind, encoding, None), **CLOSE)
            except ClientDisconnect:
                return away("cut off", 400)
            return answer(receive(kind, encoding, bytes(body)))

        async def nowhere(request: Request, _: Exception) -> Response:
            # How HTTP/2 begins, and so gRPC, which is what many exporters speak unless told otherwise.
            if request.method == "PRI" and expected is None:
                receive(GRPC, "", b"")
            return away("not found", 404)

        app = Starlette(routes=[Route(path, take, methods=["POST"])], exception_handlers={404: nowhere})
        app.router.redirect_slashes = False
        return app

    return application
