"""The truth: the energy counter of the driver, read with nvidia-ml-py and by no code of Joulecar's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pynvml

from agent.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU whose driver counts joules. others: processes that had memory of it before the benchmark began."""

    index: int
    name: str
    uuid: str
    driver: str
    others: int
    handle: Any

    def counter_j(self) -> float:
        """Joules since the driver was loaded. Raises pynvml.NVMLError."""
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1e3


@contextmanager
def opened(index: int) -> Iterator[Gpu]:
    """The GPU with this number in nvidia-smi.

    Raises Unavailable: there is no NVIDIA driver, no such GPU, or no energy counter, which GPUs have from Volta on.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise Unavailable(f"no NVIDIA driver: {error}", "run it on a machine with an NVIDIA GPU") from error
    try:
        yield _gpu(index)
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Gpu:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        gpu = Gpu(
            index=index,
            name=_text(pynvml.nvmlDeviceGetName(handle)),
            uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
            driver=_text(pynvml.nvmlSystemGetDriverVersion()),
            others=_others(handle),
            handle=handle,
        )
        gpu.counter_j()
    except pynvml.NVMLError as error:
        raise Unavailable(f"GPU {index} has no energy counter: {error}", "name another one with --gpu") from error
    return gpu


def _others(handle: Any) -> int:
    try:
        return len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle))
    except pynvml.NVMLError:
        return 0  # not told here: figures that are off will show it


def _text(said: str | bytes) -> str:
    return said.decode() if isinstance(said, bytes) else said
