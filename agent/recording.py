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
    """The files, by the time at which they begin; those without a tick are left out. cut: is told of one that is cut
    off, as that of an agent which was killed; it ends there.

    Raises JoulecarError: a file cannot be read, named and why, or none has a tick. A file's ticks raise it, too, since
    they are read as they are taken.
    """
    found = []
    for path in paths:
        ticks = _ticks(path, cut)
        first = next(ticks, None)
        if first is None:  # as of an agent that ended when it had just begun another file
            continue
        opening = Opening() if first.opening is None else opening_of(first.opening)
        found.append(RecordedFile(path, first.at, opening, chain((first,), ticks)))
    if not found:
        raise JoulecarError(f"{', '.join(map(str, paths))}: no ticks in it")
    return tuple(sorted(found, key=lambda file: file.begins.mono_s))


def one_trace(files: Sequence[RecordedFile]) -> Iterator[Tick]:
    """All ticks of the files. Raises JoulecarError: which file does not follow the one before it."""
    before: RecordedFile | None = None
    end: Instant | None = None
    for file in files:
        if before is not None and end is not None:
            _must_follow(file, before, end)
        for tick in file.ticks:
            end = tick.at
            yield tick
        before = file


def _must_follow(file: RecordedFile, before: RecordedFile, end: Instant) -> None:
    """Each file of a run opens with the books as the one before it left them. A run that goes on from another's books
    does more with them than the next tick would, so files of two runs are no one trace.

    Raises JoulecarError."""
    books = file.opening.books
    if file.path == before.path:
        why = "it is given twice"
    elif books is None:
        why = "what went before it is not told there"
    elif file.opening.run_s != before.opening.run_s:
        why = "it is of another run"
    elif books.at != end:
        why = f"it goes on from {books.at.mono_s:.3f} s, and that ends at {end.mono_s:.3f} s"
    else:
        return
    fix = "give files of one run that follow each other, with none left out"
    raise JoulecarError(f"{file.path} does not follow {before.path}: {why}; {fix}")


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
