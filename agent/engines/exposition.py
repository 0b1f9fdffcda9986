"""From an exposition page to the numbers of a few wanted metrics, without looking at the rest of it.

Reads the Prometheus text format 0.0.4 and 1.0.0 and OpenMetrics 1.0 (timestamps, exemplars, quoted names). One
compiled expression finds the wanted lines; only those are taken apart. It never builds anything for a series
that nobody asked for, and never decides by a name's suffix what a TYPE line says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from os.path import commonprefix
from types import MappingProxyType
from typing import NamedTuple

# What a label block is made of. Possessive, so that a hostile line cannot make the search go back and forth.
_STRING = rb'"(?:[^"\\\n]++|\\.)*+"'
_BLOCK = re.compile(rb"[ \t]*\{((?:[^\"}\n]++|" + _STRING + rb")*+)\}")
_LABEL = re.compile(rb"[ \t]*+(" + _STRING + rb"|[^\s=,\"{}]++)[ \t]*+(?:=[ \t]*+(" + _STRING + rb")[ \t]*+)?(?:,|$)")
_ESCAPE = re.compile(rb'\\([\\n"])')
_UNESCAPED = {b"\\": b"\\", b"n": b"\n", b'"': b'"'}

# A TYPE line of OpenMetrics names the family, its samples carry a suffix.
_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "counter": ("", "_total"),
    "histogram": ("", "_sum", "_count", "_bucket"),
    "gaugehistogram": ("", "_gsum", "_gcount", "_bucket"),
    "summary": ("", "_sum", "_count"),
    "info": ("", "_info"),
}
_ALL_SUFFIXES = sorted({s for group in _SUFFIXES.values() for s in group if s})

# Label blocks remembered from page to page, since an engine writes the same ones every time. A memo of a pure
# function, bounded both ways: at most 1 MiB of keys.
_MEMO = 1024
_MEMO_BYTES = 1024


class Labels(NamedTuple):
    """A series' labels, and one text for them that does not depend on the order they were written in."""

    of: Mapping[str, str]
    text: str


class Sample(NamedTuple):
    """One line of the page. type is what the TYPE line before it said, "" if there was none."""

    name: str
    labels: Labels
    value: float
    type: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """The metric names looked for, compiled."""

    names: frozenset[str]
    pattern: re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found, in the page's order. malformed: the wanted lines that could not be read, cut short."""

    samples: tuple[Sample, ...]
    malformed: tuple[str, ...]
    types: Mapping[str, str]  # of the wanted names that a TYPE line speaks of


def want(names: Iterable[str]) -> Wanted:
    """Compile the names to look for. Costs about a millisecond: do it once per set of names."""
    wanted = frozenset(names)
    families = wanted | {n.removesuffix(s) for n in wanted for s in _ALL_SUFFIXES if n.endswith(s)}
    pattern = (
        rb"\n[ \t]*+(?:"
        rb"(" + _either(wanted) + rb")(?=[ \t{])([^\n]*)"  # 1 name, 2 the rest of the line
        rb'|#[ \t]+TYPE[ \t]+("?)(' + _either(families) + rb")\3[ \t]+(\w+)"  # 4 family, 5 type
        rb"|(\{[^\n]*)"  # 6 a line whose name is quoted, inside the braces
        rb")"
    )
    return Wanted(wanted, re.compile(pattern))


def _either(names: Iterable[str]) -> bytes:
    """An expression for any of the names that looks at their common beginnings once, not once for every name: an
    engine's names all begin alike, and so does nearly every line of its page."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(name[:1], []).append(name)
    branches = []
    for first, group in sorted(groups.items(), reverse=True):  # "" last: no name ends where a longer one goes on
        shared = commonprefix(group)  # noqa: RUF071 - of characters: these are no paths
        rest = [name[len(shared) :] for name in group]
        tail = b"(?:" + _either(rest) + b")" if len(group) > 1 else b""
        branches.append(re.escape(shared).encode() + tail if first else b"")
    return b"|".join(branches) or b"(?!)"


def scan(page: bytes, wanted: Wanted) -> Scan:
    """The wanted samples of a page. Never raises: a wanted line that is no exposition text is in malformed."""
    samples: list[Sample] = []
    malformed: list[str] = []
    types: dict[str, str] = {}
    for match in wanted.pattern.finditer(b"\n" + page):
        name_b, rest, _, family_b, type_b, quoted = match.groups()
        if family_b is not None:
            family, kind = family_b.decode(), type_b.decode().lower()
            for suffix in _SUFFIXES.get(kind, ("",)):
                types[family + suffix] = kind
            continue
        if name_b is None:
            found = _quoted_line(quoted)
            if found is None or found[0] not in wanted.names:
                continue
            name, labels, tail = found
        else:
            name = name_b.decode()
            block = _BLOCK.match(rest)
            if block is not None:
                parsed, tail = _labels(block[1]), rest[block.end() :]
            else:
                parsed, tail = (None if rest.lstrip().startswith(b"{") else _NONE), rest
            if parsed is None or "__name__" in parsed.of:
                malformed.append(_shortened(name_b + rest))
                continue
            labels = parsed
        value = _value(tail)
        if value is None:
            malformed.append(_shortened(match[0]))
            continue
        samples.append(Sample(name, labels, value, types.get(name, "")))
    return Scan(tuple(samples), tuple(malformed), types)


def parse_labels(text: str) -> Mapping[str, str] | None:
    """The labels in `a="x",b="y"`, None if that is not what it is."""
    parsed = _labels(text.encode())
    return None if parsed is None else parsed.of


def _quoted_line(line: bytes) -> tuple[str, Labels, bytes] | None:
    """A line of the form {"name", label="x"} 1, as exposition format 1.0.0 allows."""
    block = _BLOCK.match(line)
    labels = _labels(block[1]) if block is not None else None
    if block is None or labels is None or "__name__" not in labels.of:
        return None
    of = dict(labels.of)
    name = of.pop("__name__")
    return name, Labels(MappingProxyType(of), _canonical(of)), line[block.end() :]


def _labels(raw: bytes) -> Labels | None:
    return _remembered(raw) if len(raw) <= _MEMO_BYTES else _parsed(raw)


@lru_cache(maxsize=_MEMO)
def _remembered(raw: bytes) -> Labels | None:
    return _parsed(raw)


def _parsed(raw: bytes) -> Labels | None:
    of: dict[str, str] = {}
    at = 0
    raw = raw.strip()
    while at < len(raw):
        match = _LABEL.match(raw, at)
        if match is None:
            return None
        key, value = match.groups()
        if value is None:  # {"name"}: a quoted name stands alone
            if not key.startswith(b'"'):
                return None
            name, text = "__name__", _unquoted(key)
        else:
            name, text = _unquoted(key), _unquoted(value)
        if name in of:
            return None
        of[name] = text
        at = match.end()
    return Labels(MappingProxyType(of), _canonical(of))


_NONE = Labels(MappingProxyType({}), "")


def _canonical(of: Mapping[str, str]) -> str:
    return ",".join(f"{k}={of[k]!r}" for k in sorted(of))


def _unquoted(text: bytes) -> str:
    if text.startswith(b'"'):
        text = text[1:-1]
        if b"\\" in text:
            text = _ESCAPE.sub(lambda m: _UNESCAPED[m[1]], text)
    return text.decode(errors="replace")


def _value(tail: bytes) -> float | None:
    """The number that a line's rest begins with; a timestamp or an exemplar after it says nothing here."""
    tokens = tail.split(None, 1)
    if not tokens or b"_" in tokens[0]:  # 1_000 is a number to Python alone
        return None
    try:
        return float(tokens[0])
    except ValueError:
        return None


def _shortened(line: bytes) -> str:
    text = line.strip().decode(errors="replace")
    return text if len(text) <= 120 else text[:117] + "..."
