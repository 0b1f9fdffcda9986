"""What a run knows beside the recording, as JSON: the format of tests/data/h100/told.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.real_gpu.asked import Asked, Load


@dataclass(frozen=True, slots=True)
class Machine:
    """rest_w: of the GPU with the model loaded and nothing to do, by its counter."""

    gpu: str
    driver: str
    rest_w: float


def told_json(machine: Machine, loads: Sequence[Load]) -> str:
    """One line a load and a request, so that versions can be compared. Ends with a line feed."""
    requests = [_request(asked) for load in loads for asked in load.asked]
    head = {"gpu": machine.gpu, "driver": machine.driver, "rest_w": round(machine.rest_w, 2)}
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    lines += _list("loads", [_load(load) for load in loads], ",")
    lines += _list("requests", requests, "")
    return "\n".join(["{", *lines, "}"]) + "\n"


def _list(name: str, items: Sequence[dict[str, Any]], end: str) -> list[str]:
    lines = [f"  {json.dumps(item)}" for item in items]
    return [f' "{name}": [', *(f"{line}," for line in lines[:-1]), *lines[-1:], f" ]{end}"]


def _load(load: Load) -> dict[str, Any]:
    told: dict[str, Any] = {"load": load.name, "seconds": round(load.seconds, 3), "joules": round(load.joules, 3)}
    if any(asked.load != load.name for asked in load.asked):
        return told  # a load of several kinds: each request tells its own
    return {**told, "requests": len(load.asked), "prompt": load.prompt, "generated": load.generated}


def _request(asked: Asked) -> dict[str, Any]:
    told: dict[str, Any] = {
        "trace_id": asked.trace_id,
        "load": asked.load,
        "start_s": round(asked.start_s, 4),
        "first_s": round(asked.first_s, 4),
        "end_s": round(asked.end_s, 4),
        "prompt": asked.prompt,
        "generated": asked.generated,
    }
    return told if asked.above_rest_j is None else {**told, "above_rest_j": round(asked.above_rest_j, 3)}
