"""Whether a process can be on a GPU at all: what computes or draws on one has its device open."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

# Of every maker, and those by which virtual machines and boards reach theirs: an engine is not to lose its GPUs by a
# name that is not known here.
DEVICES = ("/dev/nvidia", "/dev/nvhost", "/dev/nvmap", "/dev/nvgpu", "/dev/dri", "/dev/kfd", "/dev/dxg", "/dev/accel")


def opens_gpu(pids: Iterable[int], proc: Path = Path("/proc")) -> bool:
    """Has one of the processes a GPU open? True as well where that cannot be seen, as of a process that is gone."""
    return any(_opens_gpu(proc / str(pid) / "fd") for pid in pids)


def _opens_gpu(files: Path) -> bool:
    try:
        with os.scandir(files) as entries:
            return any(_target(Path(entry.path)).startswith(DEVICES) for entry in entries)
    except OSError:
        return True


def _target(link: Path) -> str:
    """Raises PermissionError: it may not be seen. "": it was closed meanwhile."""
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""
