"""Runs other programs: their output to a log, a sign of life at least every second."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

_HEARTBEAT_S = 1.0


class Runner(Protocol):
    """Runs a program to its end."""

    def run(self, argv: Sequence[str], *, cwd: Path, log: Path, on_line: Callable[[str], None]) -> int:
        """The exit status. Output is appended to `log`; on_line gets every line, and "" at least every second.

        Raises OSError if the program cannot be started.
        """
        ...


class SubprocessRunner:
    """The real one. The program and what it started end with the call, by whatever way the call ends."""

    def run(self, argv: Sequence[str], *, cwd: Path, log: Path, on_line: Callable[[str], None]) -> int:
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        with (
            log.open("a", encoding="utf-8") as record,
            # Its own session, so that its whole family (make, the compilers) can be ended together.
            subprocess.Popen(  # noqa: S603 - argv is ours, and no shell reads it
                argv,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            ) as process,
        ):
            record.write(f"$ {' '.join(argv)}\n")
            reader = threading.Thread(target=_pump, args=(process, lines), daemon=True)
            reader.start()
            try:
                for line in _with_heartbeat(lines):
                    if line:
                        record.write(line)
                    on_line(line.rstrip())
                return process.wait()
            except BaseException:  # Ctrl-C above all: leave no compiler behind
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
            finally:
                reader.join()


def _pump(process: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    if process.stdout is not None:
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def _with_heartbeat(lines: queue.SimpleQueue[str | None]) -> Iterator[str]:
    """The lines as they come, and "" when none has come for a second."""
    while True:
        try:
            line = lines.get(timeout=_HEARTBEAT_S)
        except queue.Empty:
            yield ""
            continue
        if line is None:
            return
        yield line
