"""llama-server with the whole model on one GPU."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType

import httpx

from agent.errors import Unavailable
from agent.ports import Clock
from tests.fakes.program import free_address

READY_S = 300.0  # a large model from a slow disk
POLL_S = 0.1
END_S = 20.0
SLOTS = 16
CONTEXT = SLOTS * 2048  # tokens


class LlamaServer:
    """Ready to answer inside the `with` block. Raises Unavailable on entering, with the end of its log."""

    def __init__(self, binary: Path, model: Path, gpu_uuid: str, log: Path, clock: Clock) -> None:
        address = free_address()
        host, port = address.split(":")
        self.url = f"http://{address}"
        self._log = log
        self._clock = clock
        self._env = {**os.environ, "CUDA_VISIBLE_DEVICES": gpu_uuid}
        self._argv = [
            *(str(binary), "--model", str(model), "--host", host, "--port", port, "--metrics", "--no-warmup"),
            # Every prompt is computed: none is taken from a cache.
            *("--parallel", str(SLOTS), "--ctx-size", str(CONTEXT), "--n-gpu-layers", "99", "--cache-ram", "0"),
            # They wait by spinning: on no more than half of the cores, beside the client and the agent.
            *("--threads", str(max(1, min(4, (os.cpu_count() or 1) // 2)))),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> LlamaServer:
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._argv, env=self._env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            self._await_ready(self._process)
        except OSError as error:
            raise Unavailable(
                f"{self._argv[0]}: {error.strerror}", "name a llama-server with --llama-server"
            ) from error
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server; a second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        until_s = self._clock.now().mono_s + READY_S
        with httpx.Client(base_url=self.url, trust_env=False, timeout=5.0) as client:
            while process.poll() is None and self._clock.now().mono_s < until_s:
                try:
                    if client.get("/health").status_code == httpx.codes.OK:
                        return
                except httpx.HTTPError:
                    pass  # not listening yet
                self._clock.wait_until(self._clock.now().mono_s + POLL_S)
        tail = "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])
        raise Unavailable(f"llama-server did not start; the end of its log:\n{tail}", "try a smaller model")
