"""Shows what takes long: one line that rewrites itself on a terminal, a line now and then in a log."""

from __future__ import annotations

import shutil
from typing import TextIO

from agent.ports import Clock

_LOG_EVERY_S = 15.0


class ProgressLine:
    """Call it with what goes on, as often as you like; close() when that is over."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._on_terminal = stream.isatty()
        self._shown = ""
        self._next_s = clock.now().mono_s

    def __call__(self, message: str) -> None:
        if self._on_terminal:
            # Cut to the terminal's width: a line that breaks could not be rewritten.
            message = message[: max(20, shutil.get_terminal_size().columns - 1)]
            self._write(f"\r\x1b[K{message}")
            self._shown = message
        elif self._clock.now().mono_s >= self._next_s:
            self._next_s = self._clock.now().mono_s + _LOG_EVERY_S
            self._write(message + "\n")

    def close(self) -> None:
        """Take the line away again, so that what comes next stands in its place."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
