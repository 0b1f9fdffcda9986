"""A History as a text for the state directory, and back. Pure: who calls it reads and writes the file.

    {"joulecar_grid_history": 1,
     "series": {"zone": "DE", "provider": "energy_charts", "signal": "average", "basis": "lifecycle"},
     "kinds": ["actual", "forecast"], "sources": ["..."],
     "told": [[valid_from_s, valid_to_s, g_per_kwh, kind, fetched_at_s | null, source], ...]}

kind and source are places in the lists above. A file that is not so, down to the last statement, is Broken: a ladder
on half a history would be wrong by an unknown amount, and one without falls to the next rung and says so.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from agent.fields import FieldError, text
from agent.grids.history import History, Series, remember, usable
from agent.model import GridIntensity

VERSION = 1
MAX_BYTES = 4_000_000  # four times the largest history
_MARK = "joulecar_grid_history"
_FIELDS = ("zone", "provider", "signal", "basis")


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a stored text is no history. The agent goes on without it."""

    reason: str


def file_name(series: Series) -> str:
    """One file for each series, so that another zone or basis in the configuration never reads this one's."""
    names = (series.zone, series.provider, series.signal, series.basis)
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", "-".join(names))[:80]
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:8]  # "a_b" and "a:b" are two zones
    return f"grid-{plain}-{digest}.json"


def encode(history: History) -> str:
    """One line of JSON, about 40 bytes a statement. The same history gives the same text."""
    kinds = sorted({entry.kind for entry in history.told})
    sources = sorted({entry.source for entry in history.told})
    series = history.series
    return json.dumps(
        {
            _MARK: VERSION,
            "series": None if series is None else {name: getattr(series, name) for name in _FIELDS},
            "kinds": kinds,
            "sources": sources,
            "told": [
                [
                    entry.valid_from_s,
                    entry.valid_to_s,
                    entry.g_per_kwh,
                    kinds.index(entry.kind),
                    entry.fetched_at_s,
                    sources.index(entry.source),
                ]
                for entry in history.told
            ],
        },
        separators=(",", ":"),
    )


def decode(stored: str | bytes) -> History | Broken:
    """The history that encode() wrote. Never raises: what is wrong is a value, and names the place."""
    if len(stored) > MAX_BYTES:
        return Broken(f"larger than {MAX_BYTES} bytes")
    try:
        data = json.loads(stored)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one
        return Broken(f"not JSON: {error}" if not isinstance(error, RecursionError) else "not JSON: nested too deep")
    try:
        return _history(data)
    except FieldError as error:
        return Broken(str(error))


def _history(data: Any) -> History:
    if not isinstance(data, dict) or _MARK not in data:
        raise FieldError("not a stored grid history")
    if data[_MARK] != VERSION or type(data[_MARK]) is not int:
        raise FieldError(f"{_MARK} is {str(data[_MARK])[:20]}, and this version of Joulecar reads {VERSION}")
    told = _list(data, "told")
    if data.get("series") is None:
        if told:
            raise FieldError("series is missing")
        return History()
    if not isinstance(data["series"], dict):
        raise FieldError("series is not an object")
    series = Series(*(text(data["series"], name, "series.") for name in _FIELDS))
    kinds, sources = _texts(data, "kinds"), _texts(data, "sources")
    entries = [_entry(row, f"told[{i}]", series, kinds, sources) for i, row in enumerate(told)]
    history = remember(History(series), entries)
    if len(history.told) != len(entries):
        raise FieldError("told holds an interval twice, or more time than a history does")
    return history


def _entry(row: Any, where: str, series: Series, kinds: list[str], sources: list[str]) -> GridIntensity:
    if type(row) is not list or len(row) != 6:
        raise FieldError(f"{where} is not a list of 6")
    valid_from_s, valid_to_s, g_per_kwh, kind, fetched_at_s, source = row
    entry = GridIntensity(
        series.zone,
        _number(g_per_kwh, f"{where}[2]"),
        series.provider,
        series.signal,
        series.basis,
        kind=_of(kinds, kind, f"{where}[3]"),
        valid_from_s=_number(valid_from_s, f"{where}[0]"),
        valid_to_s=_number(valid_to_s, f"{where}[1]"),
        fetched_at_s=None if fetched_at_s is None else _number(fetched_at_s, f"{where}[4]"),
        source=_of(sources, source, f"{where}[5]"),
    )
    if not usable(entry):
        raise FieldError(f"{where} is no intensity of an hour")
    return entry


def _number(value: Any, where: str) -> float:
    if type(value) not in (int, float) or not abs(value) <= 2.0**53:  # not so for NaN, too
        raise FieldError(f"{where} is not a number")
    return float(value)


def _of(names: list[str], place: Any, where: str) -> str:
    if type(place) is not int or not 0 <= place < len(names):
        raise FieldError(f"{where} is not a place in its list")
    return names[place]


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if type(value) is not list:
        raise FieldError(f"{key} is not a list")
    return value


def _texts(data: dict[str, Any], key: str) -> list[str]:
    values = _list(data, key)
    if not all(type(value) is str for value in values):
        raise FieldError(f"{key} is not a list of texts")
    return values
