"""A serving engine on loopback: vLLM's page with counters that run by the clock, or whatever else a test wants."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

Answer = Callable[[BaseHTTPRequestHandler], None]

MODEL = "tiny-llama"
PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{{engine="0",model_name="{model}"}} {running}
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{{engine="0",model_name="{model}"}} 0.0
# TYPE vllm:prompt_tokens counter
vllm:prompt_tokens_total{{engine="0",model_name="{model}"}} {prompt}
# TYPE vllm:prompt_tokens_cached counter
vllm:prompt_tokens_cached_total{{engine="0",model_name="{model}"}} {cached}
# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{{engine="0",model_name="{model}"}} {generated}
# TYPE vllm:request_success counter
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="{model}"}} {requests}
"""


@dataclass
class Work:
    """What a stand-in engine has done: counts at since_s, and what it adds each second."""

    generated_per_s: float = 0.0
    prompt_per_s: float = 0.0
    cached_per_s: float = 0.0
    requests_per_s: float = 0.0
    counts: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("generated", "prompt", "cached", "requests"), 0.0)
    )
    since_s: float = field(default_factory=time.monotonic)

    def at(self, now_s: float) -> dict[str, float]:
        """Whole tokens and requests at a moment of CLOCK_MONOTONIC."""
        return {
            name: float(int(count + getattr(self, f"{name}_per_s") * (now_s - self.since_s)))
            for name, count in self.counts.items()
        }


class FakeEngine:
    """Serves inside the `with` block. answer(None) brings the page back."""

    def __init__(self, work: Work | None = None, model: str = MODEL, port: int = 0) -> None:
        """port: 0 takes any that is free."""
        self._model = model
        self._lock = threading.Lock()
        self._work = work or Work()
        self._answer: Answer | None = None
        self._let_go = threading.Event()
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(OSError):  # the agent has hung up, as it should on most of these
                    (engine._answer or engine._page)(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> FakeEngine:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self._let_go.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def work(self) -> dict[str, float]:
        """What the page says now."""
        with self._lock:
            return self._work.at(time.monotonic())

    def change(self, **per_s: float) -> None:
        """Go on at other rates: generated_per_s, prompt_per_s, cached_per_s, requests_per_s; those not named end."""
        with self._lock:
            now_s = time.monotonic()
            self._work = Work(**per_s, counts=self._work.at(now_s), since_s=now_s)

    def restart(self) -> None:
        """A new process: every count is 0 again, and grows as before."""
        with self._lock:
            old = self._work
            self._work = Work(old.generated_per_s, old.prompt_per_s, old.cached_per_s, old.requests_per_s)

    def answer(self, answer: Answer | None) -> None:
        """Answer so from now on."""
        self._answer = answer

    def _page(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock:
            counts = self._work.at(time.monotonic())
            running = 1.0 if self._work.generated_per_s or self._work.prompt_per_s else 0.0
        send(request, 200, PAGE.format(model=self._model, running=running, **counts).encode())

    # -- what else a server may say

    def hangs(self, request: BaseHTTPRequestHandler) -> None:
        """Nothing, for 30 s or until the test is over."""
        self._let_go.wait(30.0)
        request.close_connection = True


def status(code: int) -> Answer:
    return lambda request: send(request, code, b"no\n")


def html(request: BaseHTTPRequestHandler) -> None:
    send(request, 200, b"<!doctype html><html><body><h1>It works!</h1></body></html>", kind="text/html")


def gzip_garbage(request: BaseHTTPRequestHandler) -> None:
    send(request, 200, b"\x1f\x8b\x08\x00 this is no gzip at all", encoding="gzip")


def endless(request: BaseHTTPRequestHandler) -> None:
    """50 MB of a page that looks right at every line."""
    line = b'vllm:generation_tokens_total{engine="0",model_name="m"} 1.0\n'
    block = line * (2**20 // len(line))
    request.send_response(200)
    request.send_header("content-type", "text/plain")
    request.send_header("content-length", str(50 * len(block)))
    request.end_headers()
    for _ in range(50):
        request.wfile.write(block)


def redirect(target: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header("location", target)
        request.send_header("content-length", "0")
        request.end_headers()

    return answer


def send(
    request: BaseHTTPRequestHandler,
    code: int,
    body: bytes,
    *,
    kind: str = "text/plain; version=0.0.4",
    encoding: str = "",
) -> None:
    request.send_response(code)
    request.send_header("content-type", kind)
    if encoding:
        request.send_header("content-encoding", encoding)
    request.send_header("content-length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
