"""A file that an operator drops in: intensities of a contract's zone, of a meter, of a provider that we do not know.

CSV (name ends in .csv), a header and one row for each interval:

    from,to,g_per_kwh,zone,kind,signal,basis,source
    2026-10-01T00:00Z,2026-10-01T01:00Z,231.5,DE,actual,average,lifecycle,our utility

JSON (any other name), a list of objects with the same keys. Only from, to and g_per_kwh are needed. from and to are
ISO 8601 with their offset from UTC, or Unix seconds; an interval ends where the next one may begin. zone is the zone of
the whole configuration if it is left out, and rows of other zones are passed over, so that one file serves many sites.
kind is actual (default), estimated or forecast; signal average (default) or marginal; basis lifecycle (default) or
direct. What another agent serves at /grid.json, saved to a file, is read as well: see agent/grids/joulecar.py.

All rows of a zone have one signal and one basis, since two of them are two quantities. The file is read again when it
changes. A row holds as long as the file says so: it counts as told now, however old the file; a forecast counts as told
when the file was last modified. What ended over nine days ago or begins in over seven is passed over, so a whole year
may stand there. A fault refuses the whole file and names line and field, until the file is put right. Replace the file
in one step (mv), so that nobody reads half of it.
"""

from __future__ import annotations

import csv
import io
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.errors import ReadFailed, Unavailable
from agent.grids import joulecar
from agent.grids.history import AHEAD_S, KEEP_S
from agent.grids.payload import Why, bad, g_per_kwh, read_json, shown, unix_s
from agent.grids.zones import resolve
from agent.model import GridIntensity, Instant
from agent.settings import ProviderSettings

NAME = "file"
LICENCE = "yours"
EVERY_S = 60.0  # one stat() if nothing changed
MAX_BYTES = 4_000_000

_NEEDED = ("from", "to", "g_per_kwh")
_CHOICES: Mapping[str, Sequence[str]] = {
    "kind": ("actual", "estimated", "forecast"),
    "signal": ("average", "marginal"),
    "basis": ("lifecycle", "direct"),
}
_COLUMNS = (*_NEEDED, "zone", *_CHOICES, "source")
_MAX_SOURCE_CHARS = 200


@dataclass(frozen=True, slots=True)
class _Version:
    """What tells one version of the file from the next."""

    inode: int
    size: int
    modified_ns: int


def covers(zone: str) -> str | None:
    """Every zone: which ones the file has is known when it is read."""
    try:
        return resolve(zone).code
    except Unavailable:
        return None


def parse_csv(body: bytes, zone: str, modified_s: float) -> tuple[GridIntensity, ...]:
    """The rows of a zone. Raises ReadFailed that names line and field for every fault, in rows of other zones too."""
    try:
        reader = csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), restkey="", strict=True)
        header = [name.strip() for name in reader.fieldnames or ()]
        _check_names(header, "line 1")
        reader.fieldnames = header
        rows = [(f"line {reader.line_num}", _stripped(row, f"line {reader.line_num}")) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise bad(NAME, "content", "is not CSV in UTF-8", Why.UNREADABLE) from error
    return _intensities(rows, zone, modified_s)


def parse_json(body: bytes, zone: str, modified_s: float) -> tuple[GridIntensity, ...]:
    """The entries of a zone, from a list of ours or a document of another agent's."""
    found = read_json(body, NAME)
    if isinstance(found, dict) and "intensities" in found:
        return tuple(entry for entry in joulecar.decode(body, modified_s, NAME) if entry.zone == zone)
    if not isinstance(found, list):
        raise bad(NAME, "content", f"is {type(found).__name__}, not a list of objects")
    rows = []
    for i, row in enumerate(found):
        if not isinstance(row, dict):
            raise bad(NAME, f"[{i}]", f"is {shown(row)}, not an object")
        _check_names(list(row), f"[{i}]")
        rows.append((f"[{i}]", row))
    return _intensities(rows, zone, modified_s)


def _check_names(names: Sequence[str], where: str) -> None:
    for name in _NEEDED:
        if name not in names:
            raise bad(NAME, where, f"has no {name}", Why.MISSING)
    for name in names:
        if name not in _COLUMNS:
            raise bad(NAME, where, f"has {shown(name)}, which is none of {', '.join(_COLUMNS)}")
        if names.count(name) > 1:
            raise bad(NAME, where, f"has {name} twice")


def _stripped(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A row's cells, the empty ones left out. DictReader puts cells too many under "" and cells too few as None."""
    if "" in row or None in row.values():
        raise bad(NAME, where, "has not as many cells as the header")
    return {name: text for name, cell in row.items() if (text := cell.strip())}


def _intensities(
    rows: Sequence[tuple[str, Mapping[str, Any]]], zone: str, modified_s: float
) -> tuple[GridIntensity, ...]:
    """All rows are checked, those of the zone are taken. Two rows about one time are a fault, named by the second,
    and so is a row of the zone whose signal or basis is not that of the others."""
    found = sorted(((_intensity(row, where, zone, modified_s), where) for where, row in rows), key=_begin)
    of_one: defaultdict[tuple[str, str], list[tuple[GridIntensity, str]]] = defaultdict(list)
    quantity: dict[str, tuple[str, str]] = {}
    for entry, where in found:
        if quantity.setdefault(entry.zone, (entry.signal, entry.basis)) != (entry.signal, entry.basis):
            raise bad(
                NAME, f"{where}: signal, basis", f"are not those of the other rows of {entry.zone}", Why.OTHER_QUANTITY
            )
        of_one[entry.zone, entry.kind].append((entry, where))
    for group in of_one.values():
        for (earlier, before), (later, where) in pairwise(group):
            if later.valid_from_s < earlier.valid_to_s:
                raise bad(NAME, f"{where}: from", f"lies inside the interval of {before}", Why.REPEATED_TIME)
    return tuple(entry for entry, _ in found if entry.zone == zone)


def _begin(item: tuple[GridIntensity, str]) -> float:
    return item[0].valid_from_s


def _intensity(row: Mapping[str, Any], where: str, zone: str, modified_s: float) -> GridIntensity:
    from_s = _time_s(row.get("from"), f"{where}: from")
    to_s = _time_s(row.get("to"), f"{where}: to")
    if not from_s < to_s:
        raise bad(NAME, f"{where}: to", "is not after from", Why.OTHER_TIME)
    chosen = {name: _choice(row, name, where) for name in _CHOICES}
    source = row.get("source", "")
    if not isinstance(source, str) or not source.isprintable():
        raise bad(NAME, f"{where}: source", "is not a line of text")
    return GridIntensity(
        zone=_zone(row.get("zone"), zone, f"{where}: zone"),
        g_per_kwh=_number(row.get("g_per_kwh"), f"{where}: g_per_kwh"),
        provider=NAME,
        valid_from_s=from_s,
        valid_to_s=to_s,
        fetched_at_s=modified_s,
        source=source[:_MAX_SOURCE_CHARS] or "a file of the operator's",
        **chosen,
    )


def _choice(row: Mapping[str, Any], name: str, where: str) -> str:
    allowed = _CHOICES[name]
    value = row.get(name, allowed[0])
    if value not in allowed:
        raise bad(NAME, f"{where}: {name}", f"is {shown(value)}, not {', '.join(allowed)}")
    return str(value)


def _zone(value: Any, default: str, field: str) -> str:
    if value is None:
        return default
    if not isinstance(value, str):
        raise bad(NAME, field, f"is {shown(value)}, not a text")
    try:
        return resolve(value).code
    except Unavailable as error:
        raise bad(NAME, field, error.reason, Why.OTHER_ZONE) from error


def _number(value: Any, field: str) -> float:
    """Numbers of a CSV are texts, and so may those of a JSON file be that a spreadsheet wrote."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError as error:
            raise bad(NAME, field, f"is {shown(value)}, not a number", Why.NOT_A_NUMBER) from error
    return g_per_kwh(value, NAME, field)


def _time_s(value: Any, field: str) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return _moment_s(value, field)
    return unix_s(value, NAME, field)


def _moment_s(text: str, field: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad(NAME, field, f"is {shown(text)}, not a time such as 2026-10-01T00:00Z", Why.NOT_UTC) from error
    if at.tzinfo is None:
        fault = f"is {shown(text)}: no offset from UTC, write 2026-10-01T00:00Z or +02:00"
        raise bad(NAME, field, fault, Why.NOT_UTC)
    return at.timestamp()


class FileProvider:
    """Reads [grid.file] path."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._path = settings.path
        self._read: tuple[_Version, str, tuple[GridIntensity, ...]] | None = None

    @property
    def name(self) -> str:
        return NAME

    def fetch(self, zone: str, now: Instant) -> Sequence[GridIntensity]:
        """What the file has of the zone around now. Raises ReadFailed if it cannot be read or has nothing of that."""
        code = resolve(zone).code
        if self._path is None:
            raise Unavailable("file has no path", 'set grid.file.path = "/etc/joulecar/grid.csv"')
        try:
            version, body = self._changed(self._path, code)
        except OSError as error:
            raise ReadFailed(f"{NAME}: {self._path}: {error.strerror or 'cannot be read'}") from error
        if self._read is None or self._read[:2] != (version, code):
            parse = parse_csv if self._path.suffix.lower() == ".csv" else parse_json
            self._read = version, code, parse(body, code, min(version.modified_ns / 1e9, now.wall_s))
        if not (found := tuple(_as_of(now.wall_s, self._read[2]))):
            raise ReadFailed(f"{NAME}: {self._path} has no row of {code} for these days")
        return found

    def _changed(self, path: Path, code: str) -> tuple[_Version, bytes]:
        """The file's version, and its content if that is not the one read last. Never opens a pipe or a device."""
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ReadFailed(f"{NAME}: {path} is not a file")
        version = _Version(status.st_ino, status.st_size, status.st_mtime_ns)
        if self._read is not None and self._read[:2] == (version, code):
            return version, b""
        with path.open("rb") as opened:
            body = opened.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise bad(NAME, "content", f"of {path} is larger than {MAX_BYTES // 1_000_000} MB", Why.TOO_LARGE)
        return version, body


def _as_of(now_s: float, entries: Sequence[GridIntensity]) -> Iterator[GridIntensity]:
    """The rows around now, as the file tells them now; what comes from another agent keeps its own times."""
    for entry in entries:
        if entry.valid_to_s <= now_s - KEEP_S or entry.valid_from_s > now_s + AHEAD_S:
            continue
        told_now = entry.provider == NAME and entry.kind != "forecast"
        yield replace(entry, fetched_at_s=now_s) if told_now else entry
