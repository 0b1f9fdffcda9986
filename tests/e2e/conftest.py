"""Figures that the end-to-end tests saw, told at the end of the run: how close is more than whether close enough."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

# A real vLLM takes gigabytes: JOULECAR_VLLM names the command of one that is installed.
collect_ignore = [] if os.environ.get("JOULECAR_VLLM") else ["test_vllm.py"]

_FIGURES: pytest.StashKey[list[str]] = pytest.StashKey()

Figure = Callable[[str], None]


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Tell a figure."""
    return request.config.stash.setdefault(_FIGURES, []).append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash.get(_FIGURES, [])
    if figures:
        terminalreporter.section("figures of the end-to-end tests")
        for line in figures:
            terminalreporter.write_line(line)
