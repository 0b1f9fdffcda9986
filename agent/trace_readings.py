"""A reading of a device in a trace: agent/trace.py has the format."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from agent.fields import FieldError, flag, integer, needed, number, objects, text, text_or_none
from agent.model import Device, DeviceKind, Instance, Instant, ProcessUse, Reading

_KINDS = {str(kind): kind for kind in DeviceKind}


def at_out(data: dict[str, object], at: Instant, tick: Instant) -> None:
    if at.mono_s != tick.mono_s:
        data["mono_s"] = at.mono_s
    if at.wall_s != _wall_s(at.mono_s, tick):
        data["wall_s"] = at.wall_s


def at_in(data: dict[str, Any], where: str, tick: Instant) -> Instant:
    mono_s, wall_s = number(data, "mono_s", where, low=0.0), number(data, "wall_s", where)
    if mono_s is None and wall_s is None:
        return tick
    if mono_s is None:
        mono_s = tick.mono_s
    return Instant(mono_s, _wall_s(mono_s, tick) if wall_s is None else wall_s)


def _wall_s(mono_s: float, tick: Instant) -> float:
    return tick.wall_s + (mono_s - tick.mono_s)


def put(data: dict[str, object], **numbers: float | None) -> None:
    for key, value in numbers.items():
        if value is not None and 0 <= value < math.inf:
            data[key] = value


def reading_out(reading: Reading, tick: Instant) -> dict[str, object]:
    data: dict[str, object] = {"device": reading.device.key, "kind": str(reading.device.kind)}
    at_out(data, reading.at, tick)
    if reading.name:
        data["name"] = reading.name
    if reading.index is not None:
        data["index"] = reading.index
    put(
        data,
        energy_j=reading.energy_j,
        wraps_at_j=reading.wraps_at_j,
        power_w=reading.power_w,
        max_power_w=reading.max_power_w,
    )
    if reading.estimated:
        data["estimated"] = True
    if reading.processes is not None:
        data["processes"] = [{"pid": p.pid, "sm": p.sm} for p in reading.processes if math.isfinite(p.sm)]
    if reading.error is not None:
        data["error"] = reading.error
    if reading.instances:
        data["instances"] = [_instance_out(i) for i in reading.instances]
    if reading.residents is not None:
        data["residents"] = list(reading.residents)
    return data


def _instance_out(instance: Instance) -> dict[str, object]:
    data: dict[str, object] = {"uuid": instance.uuid, "memory_bytes": instance.memory_bytes}
    put(data, sms=instance.sms or None, active=instance.active)
    if instance.residents is not None:
        data["residents"] = list(instance.residents)
    return data


# The very same object for a device in every tick: tables then find it without comparing.
_device = lru_cache(maxsize=1024)(Device)


def reading_in(data: dict[str, Any], i: int, tick: Instant) -> Reading:
    where = f"readings[{i}]."
    kind = text(data, "kind", where)
    if kind not in _KINDS:
        raise FieldError(f"{where}kind is {kind!r}, not one of {', '.join(_KINDS)}")
    return Reading(
        _device(_KINDS[kind], text(data, "device", where)),
        at_in(data, where, tick),
        number(data, "energy_j", where, low=0.0),
        number(data, "wraps_at_j", where, low=0.0),
        number(data, "power_w", where, low=0.0),
        number(data, "max_power_w", where, low=0.0),
        flag(data, "estimated", where) or False,
        text(data, "name", where, default=""),
        integer(data, "index", where),
        _processes_in(data, where),
        text_or_none(data, "error", where),
        _instances_in(data, where),
        pids_in(data, where, "residents"),
    )


def _instances_in(data: dict[str, Any], where: str) -> tuple[Instance, ...]:
    if data.get("instances") is None:
        return ()
    here = [(f"{where}instances[{j}].", item) for j, item in enumerate(objects(data, "instances", where))]
    return tuple(
        Instance(
            text(item, "uuid", at),
            needed(item, "memory_bytes", at, low=0.0),
            number(item, "sms", at, low=0.0) or 0.0,
            number(item, "active", at, low=0.0),
            pids_in(item, at, "residents"),
        )
        for at, item in here
    )


def _processes_in(data: dict[str, Any], where: str) -> tuple[ProcessUse, ...] | None:
    if data.get("processes") is None:
        return None
    uses = []
    for j, item in enumerate(objects(data, "processes", where)):
        here = f"{where}processes[{j}]."
        pid = integer(item, "pid", here)
        if pid is None:
            raise FieldError(f"{here}pid is missing")
        uses.append(ProcessUse(pid, needed(item, "sm", here, low=0.0)))
    return tuple(uses)


def pids_in(data: dict[str, Any], where: str, key: str) -> tuple[int, ...] | None:
    pids = data.get(key)
    if pids is None:
        return None
    if not isinstance(pids, list) or not all(type(p) is int and p >= 0 for p in pids):
        raise FieldError(f"{where}{key} is not a list of process numbers")
    return tuple(pids)
