"""A Dockerfile as instructions, as far as the tests ask."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Instruction:
    word: str  # COPY, RUN, ...
    rest: str

    @property
    def words(self) -> list[str]:
        """The exec form's words. Fails where it is the shell form."""
        found: list[str] = json.loads(self.rest[self.rest.index("[") :])
        return found

    @property
    def options(self) -> list[str]:
        return [w for w in shlex.split(self.rest) if w.startswith("--")]

    @property
    def paths(self) -> list[str]:
        """Of COPY: the sources, then where they go."""
        return [w for w in shlex.split(self.rest) if not w.startswith("--")]


def read(path: Path) -> list[Instruction]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def last_stage(instructions: list[Instruction]) -> list[Instruction]:
    start = max(n for n, i in enumerate(instructions) if i.word == "FROM")
    return instructions[start:]


def variables(stage: list[Instruction]) -> dict[str, str]:
    """What ENV sets."""
    return dict(word.split("=", 1) for i in stage if i.word == "ENV" for word in shlex.split(i.rest))
