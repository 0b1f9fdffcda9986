"""Runs llama-server for the demonstration, on a free loopback port, and never leaves it behind."""

from __future__ import annotations

import atexit
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType

import httpx

from agent.demo.tiny_model import NAME
from agent.errors import Unavailable
from agent.ports import Clock

_READY_S = 30.0  # it takes a tenth of a second; a machine under load takes longer
_POLL_S = 0.05
_ATTEMPTS = 3  # somebody may take the free port before the server does
_TERM_S = 3.0
_LOG_TAIL = 8  # lines


class DemoServer:
    """A llama-server with a model, ready to answer inside the `with` block.

    Raises Unavailable on entering: it ended or did not become ready, with the last lines of its log.
    """

    def __init__(
        self, binary: Path, model: Path, log: Path, *, clock: Clock, name: str = NAME, port: int | None = None
    ) -> None:
        self._binary = binary
        self._model = model
        self._log = log
        self._clock = clock
        self._name = name
        self._wanted_port = port
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def __enter__(self) -> DemoServer:
        atexit.register(self.stop)
        try:
            for attempt in range(_ATTEMPTS):
                self._port = self._wanted_port or _free_port()
                self._start()
                if self._became_ready():
                    return self
                self.stop()
                if attempt == _ATTEMPTS - 1 or "bind" not in self._tail():
                    break
        except BaseException:
            self.stop()
            raise
        self.stop()
        raise Unavailable(
            f"llama-server did not start; the last lines of {self._log}:\n{self._tail()}",
            "set JOULECAR_LLAMA_SERVER to another llama-server",
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; a second call does nothing."""
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_TERM_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        argv = [
            *_ends_with_us(),
            *(str(self._binary), "--model", str(self._model), "--alias", self._name),
            *("--host", "127.0.0.1", "--port", str(self._port), "--metrics", "--slots"),
            *("--parallel", "4", "--ctx-size", "8192", "--threads", "1"),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - argv is ours, and no shell reads it
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is for the agent, which then ends the server after its last window.
                start_new_session=True,
            )

    def _became_ready(self) -> bool:
        deadline_s = self._clock.now().mono_s + _READY_S
        with httpx.Client(base_url=self.url, timeout=2.0, trust_env=False) as client:
            while self._process is not None and self._process.poll() is None:
                try:
                    if client.get("/health").status_code == httpx.codes.OK:
                        # The answer may be another program's that took the port; then ours ends.
                        return self._process.poll() is None
                except httpx.HTTPError:
                    pass  # not listening yet
                next_s = self._clock.now().mono_s + _POLL_S
                if next_s > deadline_s or not self._clock.wait_until(next_s):
                    return False
        return False

    def _tail(self) -> str:
        try:
            text = self._log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-_LOG_TAIL:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ends_with_us() -> tuple[str, ...]:
    """A prefix that has the kernel end the server if this process dies without cleaning up (SIGKILL).

    setpriv is in Debian's essential packages; without it only a clean end takes the server along. (The other way,
    preexec_fn, is not safe beside threads.)
    """
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", signal.SIGKILL.name.removeprefix("SIG")) if setpriv else ()
