"""The real llama-server for tests that want one: found, or built once on this machine."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from agent.clock import SystemClock
from agent.demo import tiny_model
from agent.demo.llama_server import default_cache_dir, find_or_build
from agent.demo.progress import ProgressLine

BUILD_TIMEOUT_S = 1800  # for pytest.mark.timeout: the first test that asks may have to build it


@functools.cache
def llama_server_binary() -> Path:
    """A llama-server. Minutes on the first call of a fresh machine, milliseconds after that.

    `make test` has it built beforehand, where its progress can be seen.
    """
    line = ProgressLine(sys.stderr, SystemClock())
    try:
        return find_or_build(default_cache_dir(), line)
    finally:
        line.close()


@functools.cache
def tiny_model_file() -> Path:
    """The tiny model, cached beside the binary."""
    return tiny_model.cached(default_cache_dir())
