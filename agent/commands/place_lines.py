"""What `joulecar check` says of engines that name no GPU: where they run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from agent.commands.report import Found
from agent.engine_processes import is_local
from agent.settings import EngineSettings
from agent.sources.gpu_files import opens_gpu
from agent.sources.nvml import NvmlSource
from agent.sources.processes import ListenerCpu

Residents = Mapping[str, frozenset[int]]  # GPU UUID -> processes that hold memory there


def places(engines: Sequence[EngineSettings], nvml: NvmlSource, listeners: ListenerCpu) -> Iterator[Found]:
    """Asks nobody where all engines of this machine name their GPUs."""
    free = [e for e in engines if e.gpus is None and is_local(e)]
    if free:
        ports = {e.name: urlsplit(e.url).port or 0 for e in free}
        behind = listeners.look(frozenset(ports.values()))
        yield from found(free, nvml.residents(), lambda e: behind[ports[e.name]])


def found(
    engines: Sequence[EngineSettings],
    residents: Residents,
    pids: Callable[[EngineSettings], frozenset[int]],
    opens: Callable[[Iterable[int]], bool] = opens_gpu,
) -> Iterator[Found]:
    """Advice, never a fault: only the operator knows whether the engine will use the other GPUs, too."""
    if not residents:
        return
    for engine in engines:
        own = pids(engine)
        there = [uuid for uuid, held in residents.items() if held & own]
        if there and len(there) < len(residents):
            where = f"runs on {len(there)} of {len(residents)} GPUs"
            if engine.find_gpus:
                yield Found("engine", engine.name, True, f"{where}, and is charged for these: {', '.join(there)}")
            else:
                detail = f'{where}, and is charged for all: gpus = "all"'
                yield Found("engine", engine.name, False, detail, f"gpus = {json.dumps(there)}")
        elif own and not there and not opens(own):
            why = "no process behind its port has a GPU open"
            if engine.find_gpus:
                charged = "it is charged only for GPUs with processes of no engine, if there are any"
                fix = "if it is in a container, or elsewhere, name its GPUs: gpus = [...]"
                yield Found("engine", engine.name, True, f"{why}: {charged}", fix)
            else:
                yield Found(
                    "engine", engine.name, False, f'{why}, and it is charged for all: gpus = "all"', "gpus = []"
                )
