"""A provider's rows as a whole: in order, one statement about one time, none of the past from the future."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from agent.grids import payload
from agent.model import GridIntensity

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A measured value may begin a little after our clock; half an hour ahead it is a local time read as UTC.
_CLOCKS_DIFFER_S = 900.0


def in_order(entries: Iterable[GridIntensity], provider: str, field: str, now_s: float) -> tuple[GridIntensity, ...]:
    """The entries, oldest first.

    Raises ReadFailed for none at all, for two statements about one time (a repeated hour at the end of summer time
    makes them), and for a value that is no forecast and begins in the future (local times make it).
    """
    ordered = sorted(entries, key=lambda entry: entry.valid_from_s)
    if not ordered:
        raise payload.bad(provider, field, "holds no value", payload.Why.EMPTY)
    for earlier, later in pairwise(ordered):
        if later.valid_from_s < earlier.valid_to_s:
            at = utc_text(later.valid_from_s)
            raise payload.bad(
                provider, field, f"holds two values for {at}: a repeated hour?", payload.Why.REPEATED_TIME
            )
    for entry in ordered:
        if entry.kind != "forecast" and entry.valid_from_s > now_s + _CLOCKS_DIFFER_S:
            at = utc_text(entry.valid_from_s)
            raise payload.bad(
                provider, field, f"holds a value of the future, {at}: a local time?", payload.Why.OTHER_TIME
            )
    return tuple(ordered)


def objects(holder: Any, key: str, provider: str) -> list[dict[str, Any]]:
    """The list of objects under a key of the answer. Raises ReadFailed for anything else, and for an empty one."""
    found = payload.rows(payload.entry(holder, key, provider), provider, key)
    for i, item in enumerate(found):
        if not isinstance(item, dict):
            raise payload.bad(provider, f"{key}[{i}]", f"is {payload.shown(item)}, not an object")
    return list(found)


def same(value: object, wanted: str, provider: str, field: str, why: payload.Why = payload.Why.OTHER_ZONE) -> None:
    """The provider speaks of what it was asked for: raises ReadFailed for another zone, or another unit."""
    if value != wanted:
        raise payload.bad(provider, field, f"is {payload.shown(value)}, not {wanted!r}", why)


def naive_utc_s(value: object, provider: str, field: str) -> float:
    """Unix seconds of a time without an offset, in a field that is documented to be UTC."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.utcoffset() not in (None, timedelta(0)):
        raise payload.bad(provider, field, f"is {payload.shown(value)}, not a time in UTC", payload.Why.NOT_UTC)
    return at.replace(tzinfo=UTC).timestamp()


def utc_text(at_s: float, form: str = "%Y-%m-%dT%H:%MZ") -> str:
    """A moment in UTC, for requests and for people."""
    return (_EPOCH + timedelta(seconds=at_s)).strftime(form)
