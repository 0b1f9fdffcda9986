"""Fields of a parsed JSON object, checked: exact types, since "1" is not 1 and true is not 1 either.

where is what to write before the field's name in an error: "readings[2].". null counts as absent.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

LOWEST = -sys.float_info.max  # any finite number


class FieldError(ValueError):
    """What is wrong, and where in the object."""


def objects(data: dict[str, Any], key: str, where: str = "") -> list[dict[str, Any]]:
    value = data.get(key)
    if value is None:
        return []
    if type(value) is not list:
        raise FieldError(f"{where}{key} is not a list")
    for i, item in enumerate(value):
        if type(item) is not dict:
            raise FieldError(f"{where}{key}[{i}] is not an object")
    return value


def number(data: dict[str, Any], key: str, where: str, *, low: float = LOWEST) -> float | None:
    value = data.get(key)
    if value is None or (type(value) is float and low <= value < math.inf):  # nearly always
        return value
    if type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if type(value) is not float:
        raise FieldError(f"{where}{key} is {_show(value)}, not a number")
    if not low <= value < math.inf:
        raise FieldError(f"{where}{key} is {value!r}" + (", below 0" if low == 0 and value < 0 else ", too large"))
    return value


def needed(data: dict[str, Any], key: str, where: str, *, low: float = LOWEST) -> float:
    value = number(data, key, where, low=low)
    if value is None:
        raise FieldError(f"{where}{key} is missing")
    return value


def integer(data: dict[str, Any], key: str, where: str) -> int | None:
    value = data.get(key)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise FieldError(f"{where}{key} is {_show(value)}, not a whole number from 0")
    return value


def flag(data: dict[str, Any], key: str, where: str) -> bool | None:
    value = data.get(key)
    if value is not None and type(value) is not bool:
        raise FieldError(f"{where}{key} is {_show(value)}, not true or false")
    return value


def text_or_none(data: dict[str, Any], key: str, where: str) -> str | None:
    value = data.get(key)
    if value is not None and type(value) is not str:
        raise FieldError(f"{where}{key} is {_show(value)}, not a text")
    return value


def text(data: dict[str, Any], key: str, where: str, *, default: str | None = None) -> str:
    value = text_or_none(data, key, where)
    if value is not None:
        return value
    if default is None:
        raise FieldError(f"{where}{key} is missing")
    return default


def _show(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}..."
