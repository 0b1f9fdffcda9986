"""The line that shows what takes long."""

from __future__ import annotations

import io

from agent.demo.progress import ProgressLine
from tests.fakes.clock import FakeClock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_rewrites_itself_and_goes_away() -> None:
    out = Terminal()
    line = ProgressLine(out, FakeClock())
    line("building 1 %")
    line("building 2 %")
    line.close()
    assert out.getvalue() == "\r\x1b[Kbuilding 1 %\r\x1b[Kbuilding 2 %\r\x1b[K"


def test_a_line_longer_than_the_terminal_is_cut_so_that_it_can_be_rewritten() -> None:
    out = Terminal()
    ProgressLine(out, FakeClock())("x" * 5000)
    assert len(out.getvalue()) < 1000


def test_in_a_log_a_line_now_and_then_without_control_characters() -> None:
    out, clock = io.StringIO(), FakeClock()
    line = ProgressLine(out, clock)
    for second in range(40):
        line(f"second {second}")
        clock.advance(1.0)
    line.close()
    assert out.getvalue() == "second 0\nsecond 15\nsecond 30\n"


def test_what_never_took_long_leaves_nothing_on_the_terminal() -> None:
    out = Terminal()
    ProgressLine(out, FakeClock()).close()
    assert out.getvalue() == ""
