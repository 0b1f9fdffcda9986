"""A thread of its own for calls that may hang, so that the agent never hangs with them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Runs one job at a time in a daemon thread. A job that hangs cannot be ended, only waited for no longer."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """The job's result, when it is there. The thread starts with the first job."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(job())
            except Exception as error:  # handed to whoever waits
                future.set_exception(error)

        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(run)
        return future

    def stop(self, timeout_s: float) -> None:
        """No more jobs after those submitted. Waits at most this long for them."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
