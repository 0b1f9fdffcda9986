"""How text is laid out for a terminal: colour, columns, and numbers that a person takes in at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.model import Method

_STYLES = {
    "head": "1",
    "dim": "2",
    "counter": "32",
    "integrated": "36",
    "estimated": "33",
    "simulated": "35",
    "bad": "31;1",
    "bar": "34",
}


@dataclass(frozen=True, slots=True)
class Text:
    """Text, and the same with colour: columns are counted in the first, the second is printed."""

    plain: str
    painted: str

    def __add__(self, other: Text) -> Text:
        return Text(self.plain + other.plain, self.painted + other.painted)


@dataclass(frozen=True, slots=True)
class Page:
    """How this page is drawn."""

    colour: bool
    width: int
    simulated: bool

    def text(self, plain: str, style: str = "") -> Text:
        painted = f"\x1b[{_STYLES[style]}m{plain}\x1b[0m" if self.colour and style and plain else plain
        return Text(plain, painted)

    def title(self, title: str) -> Text:
        """A section's name, which says if all below it is simulated."""
        mark = self.text(" simulated", "simulated") if self.simulated else self.text("")
        return self.text(title, "head") + mark

    def heading(self, title: str, columns: str) -> str:
        """A section's first line: its name on the left, its columns' names on the right."""
        line = self.title(title)
        gap = self.text(" " * (self.width - len(line.plain) - len(columns)))
        return (line + gap + self.text(columns, "dim")).painted

    def known(self, method: Method) -> Text:
        """How an energy is known."""
        mark = self.text("simulated ", "simulated") if self.simulated else self.text("")
        return mark + self.text(method, method)

    def flow(self, start: Text, pieces: Iterable[Text], indent: int) -> Iterator[str]:
        """The pieces one after another, on as many lines as the width asks for; no piece is broken."""
        line, empty = start, True
        for piece in pieces:
            if not empty and len(line.plain) + 1 + len(piece.plain) > self.width:
                yield line.painted
                line, empty = self.text(" " * indent), True
            line += piece if empty else self.text(" ") + piece
            empty = False
        yield line.painted


def fit(text: str, width: int) -> str:
    """The text in exactly width columns: padded, or cut in the middle, since names differ at both ends."""
    if len(text) > width:
        head = (width - 1) // 2
        text = f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"
    return f"{text:<{width}}"


def number(value: float | None) -> str:
    """About three digits that matter; "-" for what is not known."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 99_999_500:
        return f"{value / 1e6:,.0f}M"
    if size >= 99.95:
        return f"{value:,.0f}"
    if size >= 9.995:
        return f"{value:.1f}"
    if size >= 0.9995:
        return f"{value:.2f}"
    return f"{value:.2g}" if 0 < size < 0.0995 else f"{value:.3f}".rstrip("0").rstrip(".")


def ago(seconds: float) -> str:
    """How long that is, for people."""
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"
