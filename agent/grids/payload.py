"""What every provider's answer is checked for, in one wording: provider, field, fault.

A field that is null, a boolean, NaN, negative or beyond any grid, a time without UTC, a unit that changed: each is
refused, since a plausible number that is in truth a default is worse than none.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NoReturn

from agent.errors import ReadFailed

MAX_G_PER_KWH = 3000.0  # lignite in an old plant is about 1,300 g/kWh; tables know small grids of up to 1,700
_SHOWN_CHARS = 40
_FIELD_CHARS = 60
# What makes a field's name one of many: places in lists and lines, and what comes after the name.
_PLACE = re.compile(r"\[\d+\]|^line \d+|^the ")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


class Why(StrEnum):
    """Why an answer is refused: all the values of the label `reason`."""

    MISSING = "missing"
    NULL = "null"
    NOT_A_NUMBER = "not_a_number"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    OTHER_ZONE = "other_zone"
    OTHER_QUANTITY = "other_quantity"  # unit, signal, basis, length of an interval
    NOT_UTC = "not_utc"
    REPEATED_TIME = "repeated_time"
    OTHER_TIME = "other_time"  # not now, of the future, before its own beginning
    EMPTY = "empty"
    ERROR_BODY = "error_body"  # an error in spite of its status
    UNREADABLE = "unreadable"  # no JSON, CSV, XML; compression that is cut off
    TOO_LARGE = "too_large"
    UNEXPECTED = "unexpected"  # another form than the documented one


class PayloadError(ReadFailed):
    """A server answered, and what it said is refused. field: as a label, without places in lists."""

    def __init__(self, provider: str, field: str, fault: str, why: Why) -> None:
        super().__init__(f"{provider}: {field} {fault}")
        self.provider = provider
        named = _NAME.match(_PLACE.sub("", field).lstrip(".: "))
        self.field = named.group()[:_FIELD_CHARS] if named else "answer"
        self.why = why


def bad(provider: str, field: str, fault: str, why: Why = Why.UNEXPECTED) -> PayloadError:
    """The one form of a payload's fault."""
    return PayloadError(provider, field, fault, why)


def read_json(body: bytes, provider: str) -> Any:
    """The body as JSON. Raises ReadFailed for anything else, NaN and Infinity included, which JSON has not."""
    if not body.strip():
        raise bad(provider, "answer", "is empty", Why.EMPTY)

    def refuse(constant: str) -> NoReturn:
        raise bad(provider, "answer", f"holds {constant}", Why.NOT_FINITE)

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise bad(provider, "answer", "is not JSON", Why.UNREADABLE) from None


def entry(row: Any, name: str, provider: str) -> Any:
    """A field of an object. Raises ReadFailed where there is no object or no such field."""
    if not isinstance(row, Mapping):
        raise bad(provider, name, "is missing: not an object", Why.MISSING)
    if name not in row:
        raise bad(provider, name, "is missing", Why.MISSING)
    return row[name]


def rows(value: Any, provider: str, field: str) -> Sequence[Any]:
    """A list with something in it."""
    if not isinstance(value, list):
        raise bad(provider, field, "is not a list")
    if not value:
        raise bad(provider, field, "is empty", Why.EMPTY)
    return value


def number(value: Any, provider: str, field: str) -> float:
    """A finite number. Raises ReadFailed for null, text, booleans."""
    if value is None:
        raise bad(provider, field, "is null", Why.NULL)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad(provider, field, f"is {shown(value)}, not a number", Why.NOT_A_NUMBER)
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise bad(provider, field, "is not finite", Why.NOT_FINITE)
    return found


def g_per_kwh(value: Any, provider: str, field: str) -> float:
    """An intensity in g/kWh, 0 included. Raises ReadFailed beyond what any grid has."""
    found = number(value, provider, field)
    if not 0.0 <= found <= MAX_G_PER_KWH:
        raise bad(provider, field, f"is {found:g} g/kWh, not 0 to {MAX_G_PER_KWH:g}", Why.OUT_OF_RANGE)
    return found


def utc_s(value: Any, provider: str, field: str) -> float:
    """An ISO 8601 time in UTC as Unix seconds. Raises ReadFailed for a time without a zone, and for any other zone:
    what was UTC and is not any more has changed its meaning elsewhere, too."""
    if not isinstance(value, str):
        raise bad(provider, field, f"is {shown(value)}, not a time", Why.NOT_UTC)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise bad(provider, field, f"is {shown(value)}, not a time", Why.NOT_UTC) from None
    if at.tzinfo is None:
        raise bad(provider, field, "has no time zone", Why.NOT_UTC)
    if at.utcoffset() != timedelta(0):
        raise bad(provider, field, "is not in UTC", Why.NOT_UTC)
    return at.astimezone(UTC).timestamp()


def unix_s(value: Any, provider: str, field: str) -> float:
    """Unix seconds, and no milliseconds. Raises ReadFailed beyond the years 2001 to 2100."""
    found = number(value, provider, field)
    if not 1e9 <= found <= 4.1e9:
        raise bad(provider, field, f"is {found:g}, not Unix seconds", Why.NOT_UTC)
    return found


def each_once(starts_s: Iterable[float], provider: str, field: str) -> None:
    """Raises ReadFailed where a moment stands twice: the hour that comes again at the end of summer time."""
    seen: set[float] = set()
    for start_s in starts_s:
        if start_s in seen:
            raise bad(provider, field, "has the same time twice", Why.REPEATED_TIME)
        seen.add(start_s)


def shown(value: Any) -> str:
    """A value for an error: short, printable."""
    return repr(value)[:_SHOWN_CHARS]
