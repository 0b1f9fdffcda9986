"""Which processes can be on a GPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.sources.gpu_files import opens_gpu


def process(proc: Path, pid: int, *opened: str) -> None:
    files = proc / str(pid) / "fd"
    files.mkdir(parents=True)
    for n, target in enumerate(opened):
        (files / str(n)).symlink_to(target)


@pytest.mark.parametrize("device", ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/dri/renderD128"])
def test_a_process_that_has_a_gpu_open_may_be_on_it(tmp_path: Path, device: str) -> None:
    process(tmp_path, 7, "/dev/null", "socket:[1]", device)
    process(tmp_path, 8, "/dev/null", "socket:[2]", "/home/dev/nvidia0.log")
    assert opens_gpu([8, 7], tmp_path)
    assert not opens_gpu([8], tmp_path)


def test_what_cannot_be_seen_may_be_on_a_gpu(tmp_path: Path) -> None:
    process(tmp_path, 8)
    assert opens_gpu([8, 9], tmp_path), "9 is gone"
    assert not opens_gpu([8], tmp_path)
    assert not opens_gpu([], tmp_path)


def test_this_process_can_be_looked_at() -> None:
    with Path(os.devnull).open("rb"):
        assert not opens_gpu([os.getpid()])
