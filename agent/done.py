"""What engines did in a time that prices can be learned from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from agent.model import Work

GATHER_S = 5.0  # at least, of blocks at whose ends requests ran
GATHER_PROMPTS = 20  # and that many: a prompt that was begun in one and told in the next is then a small part,
GATHER_MAX_S = 60.0  # unless it takes longer than this
NO_REQUESTS = 1e-6  # what was forgotten but for that
Who = tuple[str, str]  # engine, model


@dataclass(frozen=True, slots=True)
class Done:
    """What an engine did for a model. steps are estimated where the engine does not count them."""

    prompt: float = 0.0  # tokens computed
    generated: float = 0.0
    first: float = 0.0  # requests whose prompt was done: their first tokens came out of a prompt's step
    steps: float = 0.0
    cached: float = 0.0  # prompt tokens that were not computed

    @property
    def decoded(self) -> float:
        return max(0.0, self.generated - self.first)

    @property
    def prompts_part(self) -> float:
        """The part of the sequences in all steps that was prompts."""
        sequences = self.first + self.decoded
        return self.first / sequences if sequences > 0 else 0.0

    @property
    def context(self) -> float:
        """Tokens of context that decoding read, in thousands, as if each request were the mean one."""
        if self.first < NO_REQUESTS:
            return 0.0
        return self.decoded * (self.prompt + self.cached + self.generated / 2) / self.first / 1000

    def plus(self, other: Done) -> Done:
        return Done(
            self.prompt + other.prompt,
            self.generated + other.generated,
            self.first + other.first,
            self.steps + other.steps,
            self.cached + other.cached,
        )

    def times(self, factor: float) -> Done:
        parts = (self.prompt, self.generated, self.first, self.steps, self.cached)
        return Done(*(p * factor for p in parts))


@dataclass(frozen=True, slots=True)
class Block:
    """What the fit is told of: a time after which all tokens of it were booked."""

    energy_j: float = 0.0  # of the group's devices, idle and work, without strangers'
    time_s: float = 0.0
    busy_s: float = 0.0
    done: Mapping[Who, Done] = field(default_factory=dict)
    busy_var_s2: float = 0.0  # variance of busy_s

    @property
    def whole(self) -> bool:
        """Enough to learn from though requests run at its end?"""
        prompts = sum(d.first for d in self.done.values())
        return self.time_s >= GATHER_MAX_S or (self.time_s >= GATHER_S and prompts >= GATHER_PROMPTS)

    def plus(self, other: Block) -> Block:
        done = dict(self.done)
        for who, more in other.done.items():
            done[who] = done.get(who, Done()).plus(more)
        return Block(
            self.energy_j + other.energy_j,
            self.time_s + other.time_s,
            self.busy_s + other.busy_s,
            MappingProxyType(done),
            self.busy_var_s2 + other.busy_var_s2,
        )


def done_of(works: Iterable[Work]) -> dict[Who, Done]:
    """What engines did, by model."""
    out: dict[Who, Done] = {}
    for work in works:
        ends = [r for r in (work.running_start, work.running_end) if r is not None]
        running = max(1.0, sum(ends) / len(ends)) if ends else 1.0
        for model, m in work.models.items():
            generated = m.generated or 0.0
            # An engine that does not count its steps takes one for as many tokens as requests run.
            steps = generated / running if m.steps is None else m.steps
            first = sum(m.requests.values()) if m.first_tokens is None else m.first_tokens
            done = Done(m.prompt_computed or 0.0, generated, min(first, generated), steps, m.prompt_cached or 0.0)
            if done != Done():
                out[work.engine, model] = out.get((work.engine, model), Done()).plus(done)
    return out
