"""YAML documents of deploy/, and where things are in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"

Document = dict[str, Any]


def documents(text: str) -> list[Document]:
    """The documents of a stream, empty ones left out."""
    return [one for one in yaml.safe_load_all(text) if one]


def document(path: Path) -> Document:
    (one,) = documents(path.read_text(encoding="utf-8"))
    return one


def strings(value: object) -> Iterator[str]:
    """Every string in a value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            yield str(key)
            yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
