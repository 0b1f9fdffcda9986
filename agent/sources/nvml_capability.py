"""What a driver can be asked for: found out by asking, off where it cannot tell, and asked at a bounded cost."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from agent.sources.nvml_errors import Action, NvmlFailure

T = TypeVar("T")

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 30.0  # between two tries of a call that keeps failing
SHARE = 0.0005  # of the time may go to asking one GPU for one dear thing: some drivers take 50 to 100 ms a call
LONGEST_HOLD_S = 120.0  # however slow the answers are
OF_LAST = 3  # answers: what the quickest of them took is the driver's, what others took longer was waiting for a CPU
FIRST_SHARE = 0.02  # of the time until there are as many: one slow answer alone tells nothing


class Pace:
    """When to ask for something dear again: the less often the longer the driver takes to answer.

    Time that passes during a call is the driver's or that of others who had the CPU. These only ever add to it, and
    not to every call: so the quickest of the last answers counts, else a busy machine would be blind for minutes.
    """

    def __init__(self, at_least_s: float = 0.0, share: float = SHARE) -> None:
        """share: of the time that may go to it."""
        self._at_least_s = at_least_s
        self._share = share
        self._due_s = float("-inf")
        self._took_s: deque[float] = deque(maxlen=OF_LAST)

    def is_due(self, now_s: float) -> bool:
        return now_s >= self._due_s

    def took(self, asked_s: float, answered_s: float, share: float | None = None) -> None:
        """share: of the time, until the next answer; None: that of the pace."""
        self._took_s.append(answered_s - asked_s)
        wanted = self._share if share is None else share
        allowed = wanted if len(self._took_s) == OF_LAST else max(wanted, FIRST_SHARE)
        hold_s = min(min(self._took_s) / allowed, LONGEST_HOLD_S)
        self._due_s = asked_s + max(hold_s, self._at_least_s)


class Capability:
    """One thing that a GPU may be able to tell. Off for good once the driver says that it cannot; asked less and
    less often while it fails. Says so in the log when that changes, not every time."""

    def __init__(self, owner: str, what: str, *, essential: bool = False) -> None:
        self._label = f"{owner}: {what}"
        self._essential = essential  # a GPU that is gone is believed when an essential call says so
        self._failures = 0
        self._retry_at_s = float("-inf")
        self.off = False
        self.answered = False
        self.error: str | None = None  # why the last try failed; None: it did not
        self.code: int | None = None  # of that failure

    def ask(self, call: Callable[[], T], now_s: float) -> T | None:
        """What the call says; None if it cannot, does not, or is not asked at the moment.

        Raises NvmlFailure if the trouble is bigger than this one capability.
        """
        if self.off or now_s < self._retry_at_s:
            return None
        try:
            value = call()
        except NvmlFailure as failure:
            if failure.action is Action.REOPEN or (failure.action is Action.GONE and self._essential):
                raise
            self._failed(failure, now_s)
            return None
        if self.error is not None:
            log.info("%s: works again", self._label)
        self.error, self.code, self._failures, self.answered = None, None, 0, True
        return value

    def _failed(self, failure: NvmlFailure, now_s: float) -> None:
        if failure.action is Action.OFF:
            self.off = True
            log.info("%s: %s, not asked again", self._label, failure.text)
        elif self.error != failure.text:
            log.warning("%s: %s", self._label, failure.text)
        self._failures += 1
        # One failure may be chance: the next tick tries again. Then 2, 4, 8 ... seconds.
        pause_s = 0.0 if self._failures == 1 else 2.0 ** min(self._failures - 1, 10)
        self._retry_at_s = now_s + min(pause_s, LONGEST_PAUSE_S)
        self.error, self.code = failure.text, failure.code
