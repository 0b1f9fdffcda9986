"""A server of the system's packages in a process of its own: started, waited for, ended."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

READY_S = 60.0
END_S = 20.0
POLL_S = 0.05


def program(name: str) -> str:
    """Where a program is. Missing is a failure: what it would show has not been shown."""
    path = shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is missing: sh tests/system-packages.sh")
    return path


def free_address() -> str:
    """host:port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


class ServerProcess:
    """Started by start(), which returns when its ready URL answers 200; what it says goes to log."""

    def __init__(self, argv: Sequence[str], log: Path, ready_url: str) -> None:
        self._argv = list(argv)
        self._log = log
        self._ready_url = ready_url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Raises RuntimeError with the end of the log."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._await_ready(self._process)
        except BaseException:
            self.end()
            raise

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        until_s = time.monotonic() + READY_S
        with httpx.Client(trust_env=False, timeout=5.0) as client:
            while not _is_ready(client, self._ready_url):
                if process.poll() is not None or time.monotonic() > until_s:
                    raise RuntimeError(f"{self._argv[0]} does not start:\n{self._log.read_text()[-2000:]}")
                time.sleep(POLL_S)

    def end(self) -> None:
        """Ask it to end, and see that it does."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _is_ready(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False  # not listening yet
