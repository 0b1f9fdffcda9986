"""Running real programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.demo.commands import SubprocessRunner


def run(tmp_path: Path, code: str, on_line: Callable[[str], None]) -> int:
    return SubprocessRunner().run([sys.executable, "-c", code], cwd=tmp_path, log=tmp_path / "log", on_line=on_line)


def test_lines_of_both_streams_and_the_status_come_back_and_stand_in_the_log(tmp_path: Path) -> None:
    lines: list[str] = []
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    assert run(tmp_path, code, lines.append) == 3
    assert [line for line in lines if line] == ["out", "err"]
    log = (tmp_path / "log").read_text()
    assert "out\nerr\n" in log
    assert log.startswith("$ "), "the command itself is in the log"


def test_a_silent_program_still_gives_a_sign_of_life(tmp_path: Path) -> None:
    lines: list[str] = []
    # It ends when it has been seen to be silent: nothing here depends on how long that takes.
    code = "import os, pathlib\nwhile not pathlib.Path('heard').exists(): pass"

    def on_line(line: str) -> None:
        lines.append(line)
        (tmp_path / "heard").touch()

    assert run(tmp_path, code, on_line) == 0
    assert lines[0] == ""


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    lines: list[str] = []
    run(tmp_path, "import os; os.write(1, b'\\xff\\xfe\\n')", lines.append)
    assert lines == ["\ufffd\ufffd"]


def test_an_interruption_ends_the_program_and_what_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()"
    )
    pids: list[int] = []

    def interrupted(line: str) -> None:
        if line:
            pids.append(int(line))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, code, interrupted)
    assert _gone(pids[0])


def test_a_program_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SubprocessRunner().run(["/no/such"], cwd=tmp_path, log=tmp_path / "log", on_line=lambda _: None)


def _gone(pid: int) -> bool:
    """Whether the process ends: a signal takes a moment, and an orphan may wait as a zombie for its new parent."""
    clock = SystemClock()
    end_s = clock.now().mono_s + 10.0
    while _there(pid) and clock.now().mono_s < end_s:
        clock.wait_until(clock.now().mono_s + 0.02)
    return not _there(pid)


def _there(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
