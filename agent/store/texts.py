"""The text of a value of which most is, at every tick, what it was at the tick before.

Letter for letter what Codecs.dumps gives. What a part's text was is remembered for as long as the value holds that
very part: values are frozen, so the same object has the same text. The prices that an engine's account learned are
kilobytes of numbers, and change once in many ticks.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Collection, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from agent.codec import Codecs

Write = Callable[[Any], str]
SCALARS = (str, bool, int, float, types.NoneType)


class Texts:
    """Of one value that changes bit by bit."""

    def __init__(self, codecs: Codecs, kind: Any, apart: Collection[type]) -> None:
        """kind: of the value. apart: records that are written field by field, from kind itself down."""
        self._codecs = codecs
        self._apart = frozenset(apart)
        self._before: dict[int, tuple[object, str]] = {}  # by id(), which is the object's for as long as it is here
        self._now: dict[int, tuple[object, str]] = {}
        self._write = self._way(kind)

    def dumps(self, value: object) -> str:
        """Its text. What it does not hold any more is forgotten."""
        self._now = {}
        text = self._write(value)
        self._before = self._now
        return text

    def _way(self, kind: Any) -> Write:
        origin, args = get_origin(kind), get_args(kind)
        if kind in self._apart:
            hints = get_type_hints(kind)
            ways = [(f.name, self._way(hints[f.name])) for f in dataclasses.fields(kind)]
            return lambda v: _listed([way(getattr(v, name)) for name, way in ways])
        if isinstance(origin, type) and issubclass(origin, Mapping) and args[1] in self._apart:
            key, item = self._way(args[0]), self._way(args[1])
            return lambda v: _listed([f"[{key(k)},{item(x)}]" for k, x in v.items()])
        if origin is tuple and args[1:] == (Ellipsis,) and dataclasses.is_dataclass(args[0]):
            item = self._way(args[0])
            return lambda v: _listed([item(x) for x in v])
        if _is_scalar(kind):
            return lambda v: self._codecs.dumps(v, kind)
        return lambda v: self._remembered(v, kind)

    def _remembered(self, value: object, kind: Any) -> str:
        key = id(value)
        found = self._now.get(key) or self._before.get(key) or (value, self._codecs.dumps(value, kind))
        self._now[key] = found
        return found[1]


def _is_scalar(kind: Any) -> bool:
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return all(k in SCALARS for k in kinds)


def _listed(texts: list[str]) -> str:
    return f"[{','.join(texts)}]"
