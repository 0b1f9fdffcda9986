"""Frozen values to JSON and back, by their own annotations: what the agent remembers, as it is written to disk.

A dataclass or named tuple becomes the list of its fields, a mapping the list of its pairs, an enum its value. The
way in and the way out are built once for each type. What does not fit its type is a MisfitError that names the place;
nothing is guessed. A record may lack fields at its end, which then take their defaults: what an older version wrote.

Named codecs are for what other versions and people read: a dataclass becomes an object without the fields that are as
by default, fields that are not known are passed over, and infinity is a text.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, Union, cast, get_args, get_origin, get_type_hints

LARGEST = 2.0**63  # of any number: SQLite's integers end there

T = TypeVar("T")
In = Callable[[Any, str], Any]
Out = Callable[[Any], Any]


def as_is(value: Any) -> Any:
    """The way out of what JSON has itself. Whoever holds only such values copies them all at once: the books are
    written at every tick, and that is a large part of what the agent costs."""
    return value


class MisfitError(ValueError):
    """A stored value that is not of its type, and where."""


class Codec(NamedTuple):
    """Both directions for one type."""

    out: Out
    back: In


class Codecs:
    """The codecs of all types met so far."""

    def __init__(self, *, named: bool = False, text: Callable[[str], str] | None = None) -> None:
        """text: what is written in the place of a text; None: the text itself."""
        self._known: dict[Any, Codec] = {}
        self._named = named
        self._encode = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
        if named:
            self._known[float] = _float_or_infinite()
        if text is not None:
            self._known[str] = Codec(text, _plain(str).back)

    def plain(self, value: object, kind: object) -> Any:
        """Lists, objects, texts and numbers, as JSON has them."""
        return self._of(kind).out(value)

    def typed(self, data: object, kind: type[T]) -> T:
        """Of what plain() gave. Raises MisfitError."""
        return cast(T, self._of(kind).back(data, ""))

    def dumps(self, value: object, kind: object) -> str:
        return self._encode(self._of(kind).out(value))

    def loads(self, text: str, kind: type[T]) -> T:
        """Raises MisfitError: the text is no JSON, or no value of that type."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise MisfitError(f"not JSON: {e}") from None
        return cast(T, self._of(kind).back(data, ""))

    def _of(self, kind: Any) -> Codec:
        if kind not in self._known:
            self._known[kind] = self._make(kind)
        return self._known[kind]

    def _make(self, kind: Any) -> Codec:
        origin, args = get_origin(kind), get_args(kind)
        if kind in (str, bool, int, float):
            return _plain(kind)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return _enum(kind)
        if origin in (Union, types.UnionType):
            return self._optional(args) if type(None) in args else self._either(args)
        if origin is frozenset:
            item = self._of(args[0])
            return Codec(lambda v: sorted(map(item.out, v)), lambda d, at: frozenset(_each(item, d, at)))
        if origin is tuple:
            return self._tuple(args)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return self._mapping(*args)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            if self._named:
                return self._object(kind)
            return self._record(kind, tuple(f.name for f in dataclasses.fields(kind)))
        if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
            return self._record(kind, kind._fields)
        raise TypeError(f"no way to write {kind}")

    def _optional(self, args: tuple[Any, ...]) -> Codec:
        (some,) = (self._of(a) for a in args if a is not type(None))
        out = as_is if some.out is as_is else lambda v: None if v is None else some.out(v)
        return Codec(out, lambda d, at: None if d is None else some.back(d, at))

    def _either(self, args: tuple[Any, ...]) -> Codec:
        """Of types that JSON tells apart."""
        ways = {a: self._of(a) for a in args}

        def back(data: Any, at: str) -> Any:
            if type(data) not in ways:
                raise MisfitError(f"{at or 'it'} is none of {', '.join(a.__name__ for a in ways)}")
            return ways[type(data)].back(data, at)

        plain = all(way.out is as_is for way in ways.values())
        return Codec(as_is if plain else lambda v: ways[type(v)].out(v), back)

    def _tuple(self, args: tuple[Any, ...]) -> Codec:
        if len(args) == 2 and args[1] is Ellipsis:
            item = self._of(args[0])
            return Codec(_list(item.out), lambda d, at: tuple(_each(item, d, at)))
        items = [self._of(a) for a in args]

        def back(data: Any, at: str) -> tuple[Any, ...]:
            _sized(data, len(items), at)
            return tuple(c.back(d, f"{at}[{i}]") for i, (c, d) in enumerate(zip(items, data, strict=True)))

        return Codec(_row(as_is, [c.out for c in items]), back)

    def _mapping(self, key: Any, value: Any) -> Codec:
        pair = self._tuple((key, value))
        return Codec(lambda v: list(map(pair.out, v.items())), lambda d, at: dict(_each(pair, d, at)))

    def _record(self, kind: Any, names: tuple[str, ...]) -> Codec:
        hints = get_type_hints(kind)
        fields = [(name, self._of(hints[name])) for name in names]

        def back(data: Any, at: str) -> Any:
            if type(data) is not list or len(data) > len(fields):
                raise MisfitError(f"{at or 'it'} is no {kind.__name__}")
            values = [c.back(d, f"{at}.{n}") for (n, c), d in zip(fields, data, strict=False)]
            try:
                return kind(*values)
            except TypeError:
                raise MisfitError(f"{at or 'it'} lacks fields of {kind.__name__}") from None

        return Codec(_row(_values(names), [c.out for _, c in fields]), back)

    def _object(self, kind: Any) -> Codec:
        hints = get_type_hints(kind)
        fields = [(f.name, self._of(hints[f.name]), _default(f)) for f in dataclasses.fields(kind)]

        def out(value: Any) -> dict[str, Any]:
            found = [(name, codec, getattr(value, name), usual) for name, codec, usual in fields]
            return {name: codec.out(v) for name, codec, v, usual in found if not (v is usual or v == usual)}

        def back(data: Any, at: str) -> Any:
            if type(data) is not dict:
                raise MisfitError(f"{at or 'it'} is no {kind.__name__}")
            values = {n: c.back(data[n], f"{at}.{n}") for n, c, _ in fields if n in data}
            try:
                return kind(**values)
            except TypeError:
                raise MisfitError(f"{at or 'it'} lacks fields of {kind.__name__}") from None

        return Codec(out, back)


def _values(names: Sequence[str]) -> Callable[[Any], Iterable[Any]]:
    """Of a record's fields. attrgetter gives no tuple for a single one."""
    return attrgetter(*names) if len(names) > 1 else lambda v: [getattr(v, n) for n in names]


def _row(values: Callable[[Any], Iterable[Any]], ways: Sequence[Out]) -> Out:
    changing = [(i, way) for i, way in enumerate(ways) if way is not as_is]

    def out(value: Any) -> list[Any]:
        row = list(values(value))
        for i, way in changing:
            row[i] = way(row[i])
        return row

    return out


def _list(way: Out) -> Out:
    return list if way is as_is else lambda v: list(map(way, v))


def _default(field: dataclasses.Field[Any]) -> Any:
    """MISSING, which equals nothing, where there is none."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _float_or_infinite() -> Codec:
    finite = _plain(float)
    ends = {"inf": math.inf, "-inf": -math.inf}

    def back(data: Any, at: str) -> float:
        return ends[data] if type(data) is str and data in ends else cast(float, finite.back(data, at))

    return Codec(lambda v: str(v) if v in (math.inf, -math.inf) else v, back)


def _plain(kind: type) -> Codec:
    takes = (int, float) if kind is float else (kind,)

    def back(data: Any, at: str) -> Any:
        if type(data) not in takes:
            raise MisfitError(f"{at or 'it'} is no {kind.__name__}")
        if kind not in (int, float):
            return data
        if not abs(data) < LARGEST:  # nor NaN: no sum that it is in says anything
            raise MisfitError(f"{at or 'it'} is no number of ours")
        return float(data) if kind is float else data

    return Codec(as_is, back)


def _enum(kind: type[Enum]) -> Codec:
    def back(data: Any, at: str) -> Enum:
        try:
            return kind(data)
        except ValueError:
            raise MisfitError(f"{at or 'it'} is no {kind.__name__}") from None

    return Codec(attrgetter("_value_"), back)  # .value is a property: three times as slow


def _each(item: Codec, data: Any, at: str) -> list[Any]:
    if type(data) is not list:
        raise MisfitError(f"{at or 'it'} is no list")
    return [item.back(d, f"{at}[{i}]") for i, d in enumerate(data)]


def _sized(data: Any, size: int, at: str) -> None:
    if type(data) is not list or len(data) != size:
        raise MisfitError(f"{at or 'it'} is no list of {size}")
