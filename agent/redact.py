"""Ticks without the names of models: numbers stay, names become model-1, model-2 ... in the order they came."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b

from agent.books import Books
from agent.engines.page import model_name
from agent.model import RequestSpan
from agent.settings import EngineSettings
from agent.trace import Tick, TraceEngine
from agent.work import OTHER_MODEL

MAX_NAMES = 10_000  # that are numbered; what stands in for others is made of them, with a key that nobody knows
# Labels whose values name a model, an adapter or the file that one was read from, in any engine's page.
_LABELS = (
    "model|model_name|model_id|model_path|served_model_name|requested_model|api_base|tokenizer|"
    "lora_name|running_lora_adapters|waiting_lora_adapters|adapter"
)
_NAMED = re.compile(rf"""\b({_LABELS})=(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')""")
_QUOTED = re.compile(r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|^# HELP.*$""", re.MULTILINE)
_WITHIN = 200  # names that are looked for within other texts: of a page's models, not of everybody's groups
_ESCAPE = re.compile(r"\\(.)")


class Redactor:
    """The same name is the same stand-in for as long as this lives. Names are taken as the books have them: without
    control characters, and cut."""

    def __init__(self, engines: Sequence[EngineSettings] = ()) -> None:
        """engines: their names are told anyway, and stand in for the models of pages that name none."""
        self._plain = frozenset(("", OTHER_MODEL, *(e.name for e in engines)))
        self._configured = {e.model for e in engines}
        self._stand_ins: dict[str, str] = {}
        self._key = secrets.token_bytes(16)
        self._within: re.Pattern[str] | None = None
        for model in sorted(self._configured):
            self._name(model)

    def __call__(self, tick: Tick) -> Tick:
        return replace(
            tick,
            engines=tuple(self._engine(e) for e in tick.engines),
            spans=tuple(self._span(s) for s in tick.spans),
        )

    def within(self, books: Books) -> Callable[[str], str]:
        """What is written in the place of a text of these books: of a name its stand-in, wherever it stands."""
        names = {*_names(books), *self._configured, *self._stand_ins}

        def written(text: str) -> str:
            if text in names:
                return self._name(text)
            return self._labels(text) if "=" in text else text

        return written

    def _engine(self, engine: TraceEngine) -> TraceEngine:
        page, error = engine.page, engine.error
        return replace(
            engine,
            page=None if page is None else self._labels(page),
            error=None if error is None else self._parts(error),
        )

    def _labels(self, text: str) -> str:
        text = _NAMED.sub(self._label, text)
        # A path or a comment may have a name in it. Numbers and the names of series stand in no quotes.
        if self._within is None or self._within.search(text) is None:
            return text
        return _QUOTED.sub(lambda match: self._parts(match[0]), text)

    def _parts(self, text: str) -> str:
        return text if self._within is None else self._within.sub(lambda match: self._stand_ins[match[0]], text)

    def _label(self, match: re.Match[str]) -> str:
        label, double, single = match.groups()
        quote, written = ("'", single) if double is None else ('"', double)
        value = _ESCAPE.sub(lambda m: "\n" if m[1] == "n" else m[1], written)
        return f"{label}={quote}{self._name(value)}{quote}"

    def _span(self, span: RequestSpan) -> RequestSpan:
        group = tuple((name, self._name(value)) for name, value in span.group)
        return replace(span, model=self._name(span.model), group=group)

    def _name(self, told: str) -> str:
        name = model_name(told)
        if name in self._plain:
            return name
        if name not in self._stand_ins:
            if len(self._stand_ins) >= MAX_NAMES:  # whoever makes up names fills no memory
                return f"model-{blake2b(name.encode(errors='replace'), key=self._key, digest_size=8).hexdigest()}"
            self._stand_ins[name] = f"model-{len(self._stand_ins) + 1}"
            if len(self._stand_ins) <= _WITHIN and _is_name(name):
                known = sorted((n for n in self._stand_ins if _is_name(n)), key=len, reverse=True)
                self._within = re.compile("|".join(map(re.escape, known)))
        return self._stand_ins[name]


def _is_name(text: str) -> bool:
    """Can it be nothing else? A model called "stop" must not take the reasons with it for which requests finished."""
    return len(text) > 4 and not text.isalpha() and not text.replace(".", "").isdigit()


def _names(books: Books) -> Iterator[str]:
    """Of models, adapters and groups, wherever these books learned of them."""
    for work in books.works.values():
        yield from (*work.models, *work.owed, *(key.model for key in work.values))
        yield from (key.model for _, values in work.aside for key in values)
    for sample in books.samples.values():
        yield from (*sample.running, *sample.waiting, *(key.model for key in sample.counters))
    for book in books.settlement.books.values():
        yield from (*book.models, *(model for work in book.works for model in work.models))
    for totals in (books.ledger.energy_j, books.ledger.tokens, books.ledger.requests):
        yield from (key[1] for key in totals)
    if books.requests is not None:
        yield from (model for _, model in books.requests.pasts)
        yield from (model for works in books.requests.works.values() for work in works for model in work.models)
        for waiting in books.requests.waiting:
            yield from (waiting.span.model, waiting.model or "", *(value for _, value in waiting.span.group))
        yield from (key[1] for key in books.requests.totals.energy)
        yield from (name for _, model, values in books.requests.totals.groups for name in (model, *values))
