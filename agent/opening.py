"""What a trace opens with: the books as they stood, and the policy that they are kept by. Both ways.

Each file of a recording begins with it, so that its replay gives the totals of the run that was recorded: those of an
earlier run that went on from agent.state_dir, too, and those of files before it that are gone. It is an object of

    version   of the agent that wrote it
    run_s     Unix time of the first tick of its run: by it the files of one run are told from others'
    policy    what the configuration says, as far as the arithmetic needs it: no address, no secret
    engines   how each engine's page is read: name, and kind, model, custom where they are configured
    books     all that is remembered from tick to tick, by the names of agent/books.py

Fields that are as by default are left out, unknown ones passed over. Headline ratios begin anew with a file. The size
does not grow with time: 8 kB for an engine and a GPU, 70 kB with two requests a second, 5 MB in a flood of spans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from agent import headline
from agent.books import Books, Policy
from agent.codec import Codecs, MisfitError
from agent.pricing import Tariffs
from agent.settings import EngineSettings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reader:
    """How an engine's page is read."""

    name: str
    kind: str = "auto"
    model: str = ""
    custom: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opening:
    """As it was read. None: it is not there, or cannot be read; problems says why."""

    version: str = ""
    run_s: float | None = None
    policy: Policy | None = None
    engines: Mapping[str, EngineSettings] = field(default_factory=dict)
    books: Books | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """By what the books are kept; the same for a whole run."""

    policy: Policy
    engines: Sequence[EngineSettings] = ()
    version: str = ""

    def opening(self, books: Books, run_s: float, text: Callable[[str], str] | None = None) -> dict[str, Any]:
        """As JSON has it. run_s: when the run began, Unix seconds. text: what is written in the place of a text, where
        names are redacted; lines of pages that cannot be read, which may have names anywhere, are left out then."""
        codecs = Codecs(named=True, text=text)
        readers = tuple(Reader(e.name, e.kind, e.model, e.custom) for e in self.engines)
        return {
            "version": self.version,
            "run_s": run_s,
            "policy": codecs.plain(self.policy, Policy),
            "engines": codecs.plain(readers, tuple[Reader, ...]),
            "books": codecs.plain(essence(books, self.policy, lines=text is None), Books),
        }


def essence(books: Books, policy: Policy, *, lines: bool = True) -> Books:
    """Without what the next tick makes anew, and what only looks back: requests that are done, points of windows."""
    asked = books.requests
    samples = {name: replace(s, missing=s.missing if lines else (), page=None) for name, s in books.samples.items()}
    now = headline.sums(books.ledger)
    return replace(
        books,
        pasts=tuple(
            replace(past, points=((books.at.mono_s, now),)) for past in headline.begin(policy.windows, books.at.mono_s)
        ),
        headlines=(),
        samples=samples,
        tariffs=Tariffs(),
        entries=(),
        posted=(),
        heard=(),
        requests=None if asked is None else replace(asked, recent=(), done=()),
    )


def opening_of(data: Mapping[str, Any]) -> Opening:
    """Never raises: what cannot be read is told in `problems`, and costs nothing else."""
    codecs = Codecs(named=True)
    problems: list[str] = []

    def part(name: str, kind: Any) -> Any:
        if name not in data:
            return None
        try:
            return codecs.typed(data[name], kind)
        except MisfitError as e:
            problems.append(f"opening.{name}: {e}")
            return None

    readers: tuple[Reader, ...] = part("engines", tuple[Reader, ...]) or ()
    version, run_s = data.get("version"), data.get("run_s")
    return Opening(
        version if isinstance(version, str) else "",
        run_s if isinstance(run_s, float) else None,
        part("policy", Policy),
        {r.name: EngineSettings(r.name, "", kind=r.kind, model=r.model, custom=r.custom) for r in readers},
        part("books", Books),
        tuple(problems),
    )
