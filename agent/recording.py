"""The files of one recording as one trace: in their order, and only where each goes on where the one before it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from agent.errors import JoulecarError, TraceCutError, TraceError
from agent.model import Instant
from agent.opening import Opening, opening_of
from agent.trace import Tick, open_trace, read_trace

Cut = Callable[[Path, TraceCutError], None]


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A file that is open. ticks: all of it, once."""

    path: Path
    begins: Instant
    opening: Opening
    ticks: Iterator[Tick]


def in_order(paths: Sequence[Path], cut: Cut) -> tuple[RecordedFile, ...]:
    """The files, by the time at which they begin. cut: is told of one that is cut off, as that of an agent which was
    killed; it ends there. Raises JoulecarError, as do the ticks: which file cannot be read, and why, or is empty."""
    found = []
    for path in paths:
        ticks = _ticks(path, cut)
        first = next(ticks, None)
        if first is None:
            raise JoulecarError(f"{path}: no ticks in it")
        opening = Opening() if first.opening is None else opening_of(first.opening)
        found.append(RecordedFile(path, first.at, opening, chain((first,), ticks)))
    return tuple(sorted(found, key=lambda file: file.begins.mono_s))


def one_trace(files: Sequence[RecordedFile]) -> Iterator[Tick]:
    """All ticks of the files. Raises JoulecarError: which file does not follow the one before it."""
    last: tuple[Path, Instant] | None = None
    for file in files:
        if last is not None:
            _must_follow(file, *last)
        for tick in file.ticks:
            last = file.path, tick.at
            yield tick


def _must_follow(file: RecordedFile, before: Path, end: Instant) -> None:
    """Each file of a recording opens with the books as the one before it left them."""
    books = file.opening.books
    if books is not None and books.at == end:
        return
    why = "what went before it is not told there"
    if books is not None:
        why = f"it goes on from {books.at.mono_s:.3f} s, and that ends at {end.mono_s:.3f} s"
    fix = "give files of one run that follow each other, with none left out"
    raise JoulecarError(f"{file.path} does not follow {before}: {why}; {fix}")


def _ticks(path: Path, cut: Cut) -> Iterator[Tick]:
    any_yet = False
    try:
        with open_trace(path) as lines:
            for tick in read_trace(lines):
                yield tick
                any_yet = True
    except TraceCutError as e:
        if not any_yet:
            raise JoulecarError(f"{path}: {e}") from e
        cut(path, e)
    except TraceError as e:
        raise JoulecarError(f"{path}: {e}") from e
    except OSError as e:
        raise JoulecarError(f"{path}: {e.strerror or e}") from e
