"""Which engine wrote a page, and whether it is an exposition page at all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from agent.engines.custom import spec_for
from agent.engines.spec import EngineSpec
from agent.engines.table import ENGINES, GATEWAYS
from agent.errors import ReadFailed

_LINE = rb'\n[ \t]*+(?:#[ \t]+(?:TYPE|HELP)[ \t]+"?|\{[ \t]*+")?'  # up to the metric's name
_SAMPLE_OR_COMMENT = re.compile(rb"\n[ \t]*+(?:#|\{[ \t]*+\"|[a-zA-Z_:][\w:]*+[{ \t])")
_JSON = re.compile(rb'\s*+(?:\{\s*+(?:\}|"(?:[^"\\]|\\.)*+"\s*+:)|\[)')
_NO_ENGINE = re.compile(rb"(?!)")


def recognise(page: bytes, kind: str, custom: Mapping[str, str]) -> tuple[EngineSpec, str]:
    """The engine's spec and the prefix that its metric names carry on this page.

    Raises ReadFailed: the page is no exposition page, or nobody's, or another engine's than kind says.
    """
    if kind != "auto" and kind not in ENGINES:
        raise ReadFailed(f"unknown kind {kind!r}: {_kinds()}")
    fault = _not_exposition(page, empty_is_fine=kind != "auto")
    if fault:
        raise ReadFailed(f"not an exposition page: {fault}")
    if kind == "custom":
        return spec_for(custom), ""
    if kind != "auto":
        prefix = _prefix(ENGINES[kind], page)
        if prefix is not None:
            return ENGINES[kind], prefix
    for spec in ENGINES.values():
        prefix = _prefix(spec, page)
        if prefix is None:
            continue
        gateway = _gateway(page)
        if gateway:  # a router may use the beginning of its engine's names for its own
            raise ReadFailed(_gateway_fault(gateway))
        if kind != "auto":
            raise ReadFailed(f"this is the page of {spec.title}, kind says {kind}")
        return spec, prefix
    gateway = _gateway(page)
    if gateway:
        raise ReadFailed(_gateway_fault(gateway))
    if kind != "auto":
        return ENGINES[kind], ENGINES[kind].prefixes[0]  # the right page, with none of its series yet
    if custom:
        return spec_for(custom), ""
    raise ReadFailed(f"no known engine's metrics on this page: {_kinds()}; are metrics switched on?")


def _kinds() -> str:
    return f"kind is one of auto, {', '.join(ENGINES)}"


def _gateway_fault(gateway: str) -> str:
    return f"this is {gateway}, whose tokens the engine behind it counts already: give the engine's own page"


def _prefix(spec: EngineSpec, page: bytes) -> str | None:
    """The prefix of the first of the spec's names on the page, None if there is none."""
    match = _prefix_pattern(spec).search(b"\n" + page)
    if match is not None:
        return match[1].decode()
    if spec.bare_marks and all(p.search(b"\n" + page) for p in _mark_patterns(spec)):
        return ""
    return None


@lru_cache(maxsize=64)
def _prefix_pattern(spec: EngineSpec) -> re.Pattern[bytes]:
    prefixes = [p for p in spec.prefixes if p]
    if not prefixes:
        return _NO_ENGINE
    return re.compile(_LINE + rb"(" + _either(prefixes) + rb")\w")


@lru_cache(maxsize=64)
def _mark_patterns(spec: EngineSpec) -> tuple[re.Pattern[bytes], ...]:
    return tuple(re.compile(_LINE + re.escape(m).encode() + rb'[ \t{"]') for m in spec.bare_marks)


def _either(words: Iterable[str]) -> bytes:
    return b"|".join(re.escape(w).encode() for w in words)


_GATEWAY = re.compile(_LINE + rb"(" + _either(GATEWAYS) + rb")")


def _gateway(page: bytes) -> str | None:
    match = _GATEWAY.search(b"\n" + page)
    return GATEWAYS[match[1].decode()] if match is not None else None


def _not_exposition(page: bytes, *, empty_is_fine: bool) -> str:
    """What a page is instead, "" if it may be an exposition page."""
    start = page[:4096]
    if start.startswith(b"\x1f\x8b"):
        return "gzip data"
    if not page.strip():
        return "" if empty_is_fine else "empty"
    if start.lstrip().startswith(b"<"):
        return "HTML"
    if _JSON.match(start):
        return "JSON"
    if _SAMPLE_OR_COMMENT.search(b"\n" + page) is None:
        return "binary data" if b"\0" in start else "some other text"
    return ""
