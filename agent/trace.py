"""Recorded ticks: what `run --record` writes and `replay` reads. JSON lines, one object a tick, times in seconds.

    {"mono_s": 12.0, "wall_s": 1790000012.0,
     "readings": [{"device": "GPU-...", "kind": "gpu", "name": "NVIDIA H100", "energy_j": 1234.5, "wraps_at_j": null,
                   "power_w": 350.0, "max_power_w": 700, "processes": [{"pid": 10, "sm": 0.7}]},
                  {"device": "package-0", "kind": "cpu", "error": "permission denied"}],
     "engines": [{"engine": "vllm-a", "page": "<exposition text>"}, {"engine": "vllm-b", "error": "http 401"}],
     "grid": [{"zone": "DE", "g_per_kwh": 310.0, "valid_from_s": ..., "valid_to_s": ..., "provider": ..., "kind": ...}],
     "spans": [{"engine": "vllm-a", "model": "...", "request_id": "...", "trace_id": "...",
                "start_s": ..., "end_s": ..., "queue_s": ..., "prefill_s": ..., "decode_s": ...,
                "prompt_tokens": ..., "cached_tokens": ..., "generated_tokens": ...}]}

Only mono_s and wall_s of the tick must be there; what is absent or null was not read. May stand there as well:

    reading   mono_s, wall_s   when this device was read, if not at the tick itself (wall_s: if it does not follow)
              index            as the driver numbers the device
              estimated        true: a model's value, not a sensor's
              residents        [10, 11]: processes that hold memory of a GPU, busy or not; absent: not asked
              instances        [{"uuid": "MIG-...", "memory_bytes": 2e10, "sms": 16, "active": 0.5, "residents": [10]}]:
                               of a GPU, where MIG is on; active: the share of its SMs that was busy, if it was told
    engine    mono_s, wall_s   when the page was asked for
              not_serving      true: nothing answered, or it was still loading, so that counters begin at 0. Absent:
                               true for errors that begin with "connection refused" or "http 503", else false
              pids, cpu_s      the engine's processes, and their CPU seconds so far; may stand without page or error.
                               pids []: they are seen, and have no GPU open
    grid      signal, basis, fetched_at_s, source
    span      span_id; own: false if a gateway sent it; group: {attribute: value}. Its times are Unix seconds
    opening   {...}: what went before this tick, at the beginning of a file that an agent wrote: see agent/opening.py
    prices    [{"zone": "DE-LU", "per_kwh": 0.31, "currency": "EUR", "valid_from_s": ..., "valid_to_s": ...,
              "provider": ..., "kind": ..., "fetched_at_s": ..., "source": ...}]; told until other prices are

Unknown keys are passed over, empty lines too. Everything else that is wrong is a TraceError that names the line; a
TraceCutError where the file just ends too early. A
number that is not finite, or negative where nothing can be, is never written: it is no value.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from agent.errors import TraceCutError, TraceError
from agent.fields import FieldError, flag, needed, number, objects, text, text_or_none
from agent.model import (
    Device,
    EnergyPrice,
    GridIntensity,
    Instant,
    Reading,
    RequestSpan,
)
from agent.trace_readings import at_in, at_out, pids_in, put, reading_in, reading_out
from agent.trace_spans import span_in, span_out
from agent.trace_tariffs import grid_in, grid_out, price_in, price_out

_NOT_SERVING = ("connection refused", "http 503")


@dataclass(frozen=True, slots=True)
class TraceEngine:
    """One scrape of an engine: its page, or why there is none. pids, cpu_s: its processes, and their CPU seconds so
    far."""

    engine: str
    at: Instant
    page: str | None = None
    error: str | None = None
    not_serving: bool = False
    cpu_s: float | None = None
    pids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """All that came in at one tick of the loop."""

    at: Instant
    readings: tuple[Reading, ...] = ()
    engines: tuple[TraceEngine, ...] = ()
    grid: tuple[GridIntensity, ...] = ()
    spans: tuple[RequestSpan, ...] = ()
    prices: tuple[EnergyPrice, ...] = ()
    opening: Mapping[str, Any] | None = None  # what opening_of() reads


def open_trace(path: Path) -> IO[str]:
    """A trace as text lines, for read_trace; a name that ends in .gz is decompressed. Errors: OSError."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape")
    return path.open(encoding="utf-8", errors="surrogateescape")


def read_trace(lines: Iterable[str]) -> Iterator[Tick]:
    """Ticks in order, one at a time. Errors: TraceError with the number of the line (from 1), TraceCutError."""
    at_line, last_s = 0, -math.inf
    rest = iter(lines)
    while True:
        at_line += 1
        try:
            line = next(rest)
        except StopIteration:
            return
        except EOFError as error:
            raise TraceCutError(at_line, f"the compressed file is damaged: {error}") from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise TraceError(at_line, f"the compressed file is damaged: {error}") from None
        if not line.strip():
            continue
        try:
            tick = _decode(line.removeprefix("\ufeff") if at_line == 1 else line)
        except FieldError as fault:
            raise (TraceCutError if _is_cut(line) else TraceError)(at_line, str(fault)) from None
        if tick.at.mono_s < last_s:
            raise TraceError(at_line, f"mono_s goes back from {last_s!r} to {tick.at.mono_s!r}")
        last_s = tick.at.mono_s
        yield tick


def _is_cut(line: str) -> bool:
    """Is it the beginning of an object, and nothing else?"""
    if line.endswith("\n") or not line.startswith("{"):
        return False
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line) or error.msg.startswith("Unterminated string")
    except (ValueError, RecursionError):
        return False
    return False


def encode_tick(tick: Tick) -> str:
    """One line of JSON, without the newline. read_trace gives the same tick back, to the last bit."""
    data: dict[str, object] = {"mono_s": tick.at.mono_s, "wall_s": tick.at.wall_s}
    if tick.opening is not None:
        data["opening"] = tick.opening
    if tick.readings:
        data["readings"] = [reading_out(reading, tick.at) for reading in tick.readings]
    if tick.engines:
        data["engines"] = [_engine_out(engine, tick.at) for engine in tick.engines]
    if tick.grid:
        data["grid"] = [grid_out(grid) for grid in tick.grid]
    if tick.prices:
        data["prices"] = [price_out(price) for price in tick.prices]
    if tick.spans:
        data["spans"] = [span_out(span) for span in tick.spans]
    return json.dumps(data, separators=(",", ":"), allow_nan=False)


# -- out --------------------------------------------------------------------------------------------------------


def _engine_out(engine: TraceEngine, tick: Instant) -> dict[str, object]:
    data: dict[str, object] = {"engine": engine.engine}
    at_out(data, engine.at, tick)
    if engine.page is not None:
        data["page"] = engine.page
    if engine.error is not None:
        data["error"] = engine.error
    if engine.not_serving != _implied_not_serving(engine.error):
        data["not_serving"] = engine.not_serving
    put(data, cpu_s=engine.cpu_s)
    if engine.pids is not None:
        data["pids"] = list(engine.pids)
    return data


def _implied_not_serving(error: str | None) -> bool:
    return error is not None and error.lower().startswith(_NOT_SERVING)


# -- in ---------------------------------------------------------------------------------------------------------


def _constant(name: str) -> NoReturn:
    raise FieldError(f"{name} is not a number")


_parse: Callable[[str], Any] = json.JSONDecoder(parse_constant=_constant).decode


def _decode(line: str) -> Tick:
    if not line.isascii():
        try:
            line.encode()
        except UnicodeEncodeError:
            raise FieldError("not UTF-8 text") from None
    try:
        data = _parse(line)
    except FieldError:
        raise
    except json.JSONDecodeError as error:
        raise FieldError(f"not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise FieldError(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise FieldError("a tick is a JSON object")
    at = Instant(needed(data, "mono_s", "", low=0.0), needed(data, "wall_s", ""))
    readings = tuple(reading_in(item, i, at) for i, item in enumerate(objects(data, "readings")))
    if len({reading.device for reading in readings}) != len(readings):
        _name_duplicate(readings)
    return Tick(
        at,
        readings,
        tuple(_engine_in(item, i, at) for i, item in enumerate(objects(data, "engines"))),
        tuple(grid_in(item, i) for i, item in enumerate(objects(data, "grid"))),
        tuple(span_in(item, i) for i, item in enumerate(objects(data, "spans"))),
        tuple(price_in(item, i) for i, item in enumerate(objects(data, "prices"))),
        _opening_in(data),
    )


def _opening_in(data: dict[str, Any]) -> Mapping[str, Any] | None:
    opening = data.get("opening")
    if opening is not None and not isinstance(opening, dict):
        raise FieldError("opening is not an object")
    return opening


def _name_duplicate(readings: tuple[Reading, ...]) -> NoReturn:
    seen: set[Device] = set()
    for i, reading in enumerate(readings):
        if reading.device in seen:
            raise FieldError(f"readings[{i}]: {reading.device.kind} {reading.device.key} is there twice")
        seen.add(reading.device)
    raise AssertionError


def _engine_in(data: dict[str, Any], i: int, tick: Instant) -> TraceEngine:
    where = f"engines[{i}]."
    page, error = text_or_none(data, "page", where), text_or_none(data, "error", where)
    cpu_s, pids = number(data, "cpu_s", where, low=0.0), pids_in(data, where, "pids")
    if page is not None and error is not None:
        raise FieldError(f"{where[:-1]} has both a page and an error")
    if page is None and error is None and cpu_s is None and pids is None:
        raise FieldError(f"{where[:-1]} has neither a page nor an error")
    stated = flag(data, "not_serving", where)
    not_serving = stated if stated is not None else _implied_not_serving(error)
    return TraceEngine(text(data, "engine", where), at_in(data, where, tick), page, error, not_serving, cpu_s, pids)
