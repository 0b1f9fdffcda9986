"""`make bench`: every benchmark but the longest, or those named on the command line.

Options come after the names and are for the one benchmark that has some: real_gpu --llama-server PATH.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import sys

import tests.bench

SKIP = {"__main__", "harness", "rig"}
BY_NAME = {"fleet"}  # ten minutes on its own


TAKES_OPTIONS = {"real_gpu"}


def main(words: list[str]) -> None:
    wanted = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    options = words[len(wanted) :]
    names = [m.name for m in pkgutil.iter_modules(tests.bench.__path__) if m.name not in SKIP]
    for name in names:
        if name in wanted or not (wanted or name in BY_NAME):
            module = importlib.import_module(f"tests.bench.{name}")
            module.run(options) if name in TAKES_OPTIONS else module.run()


if __name__ == "__main__":
    main(sys.argv[1:])
