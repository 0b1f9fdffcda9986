"""Ticks without the names of models: numbers stay, names become model-1, model-2 ... in the order they came."""

from __future__ import annotations

import re
from dataclasses import replace

from agent.model import RequestSpan
from agent.trace import Tick, TraceEngine

# Labels whose values name a model, an adapter or the file that one was read from, in any engine's page.
_LABELS = (
    "model|model_name|model_id|model_path|served_model_name|requested_model|api_base|tokenizer|"
    "lora_name|running_lora_adapters|waiting_lora_adapters|adapter"
)
_NAMED = re.compile(rf'\b({_LABELS})="((?:[^"\\]|\\.)*)"')


class Redactor:
    """The same name is the same stand-in for as long as this lives."""

    def __init__(self) -> None:
        self._stand_ins: dict[str, str] = {"": ""}

    def __call__(self, tick: Tick) -> Tick:
        return replace(
            tick,
            engines=tuple(self._engine(e) for e in tick.engines),
            spans=tuple(self._span(s) for s in tick.spans),
        )

    def _engine(self, engine: TraceEngine) -> TraceEngine:
        if engine.page is None:
            return engine
        return replace(engine, page=_NAMED.sub(lambda m: f'{m[1]}="{self._name(m[2])}"', engine.page))

    def _span(self, span: RequestSpan) -> RequestSpan:
        group = tuple((name, self._name(value)) for name, value in span.group)
        return replace(span, model=self._name(span.model), group=group)

    def _name(self, name: str) -> str:
        return self._stand_ins.setdefault(name, f"model-{len(self._stand_ins)}")
