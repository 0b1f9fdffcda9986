"""On which line of the TOML text a fault stands. tomllib forgets lines, and a person looks for them first.

Reads headers and keys only, so a key inside a multi-line string can mislead it: the line is help, never logic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.-]+)\s*\]\]?\s*(?:#.*)?", re.ASCII)
_KEY = re.compile(r"\s*([\w-]+(?:\.[\w-]+)*)\s*=", re.ASCII)


def lines_of(text: str) -> Mapping[str, int]:
    """Line number, from 1, of each table and key: agent, agent.interval, engine[0], engine[0].url."""
    found: dict[str, int] = {}
    counted: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            table = header[2]
            if header[1] == "[[":
                index = counted.get(table, 0)
                counted[table] = index + 1
                table = f"{table}[{index}]"
            elif table.partition(".")[0] in counted:  # [engine.custom] belongs to the last [[engine]]
                first, _, rest = table.partition(".")
                table = f"{first}[{counted[first] - 1}].{rest}"
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault(f"{table}.{key[1]}" if table else key[1], number)
    return found


def line_of(path: str, lines: Mapping[str, int]) -> int | None:
    """The line of a fault's path, or of the nearest table around it."""
    while path:
        if path in lines:
            return lines[path]
        path = path.rpartition(".")[0]
    return None
