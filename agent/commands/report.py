"""The lines of `joulecar check`: a mark, what was looked at, what was found, and the fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Found:
    """One line of the report. fault: the agent is degraded by it; otherwise it is only good to know. cells: by column,
    for a line that is a row of a table; it has no detail then."""

    part: str
    subject: str
    ok: bool
    detail: str = ""
    fix: str = ""
    fault: bool = False
    cells: tuple[tuple[str, str], ...] = ()


def lines(found: Sequence[Found], *, colour: bool) -> Iterator[str]:
    """The report as aligned text. Rows that follow each other stand under one header."""
    marks = {True: "ok", False: "--"}
    paint = {True: "\x1b[32m{}\x1b[0m", False: "\x1b[33m{}\x1b[0m"}
    width = max((len(f.subject) for f in found), default=0)
    columns = _widths(found)
    header: tuple[str, ...] = ()
    for f in found:
        mark = marks[f.ok]
        mark = paint[f.ok].format(mark) if colour else mark
        names = tuple(name for name, _ in f.cells)
        if names and names != header:
            yield f"    {'':<6}  {'':<{width}}  {_row(names, names, columns)}"
        header = names or header
        detail = _row(names, [value for _, value in f.cells], columns) if names else f.detail
        yield f"{mark}  {f.part:<6}  {f.subject:<{width}}  {detail}"
        if f.fix:
            yield f"    {'':<6}  {'':<{width}}  fix: {f.fix}"


def _widths(found: Sequence[Found]) -> dict[str, int]:
    widths: dict[str, int] = {}
    for f in found:
        for name, value in f.cells:
            widths[name] = max(widths.get(name, len(name)), len(value))
    return widths


def _row(names: Sequence[str], values: Sequence[str], widths: dict[str, int]) -> str:
    return "  ".join(f"{value:<{widths[name]}}" for name, value in zip(names, values, strict=True)).rstrip()
