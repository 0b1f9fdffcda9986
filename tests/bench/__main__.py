"""`make bench`: every benchmark but the longest, or those named on the command line."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tests.bench

SKIP = {"__main__", "harness", "rig"}
BY_NAME = {"fleet"}  # ten minutes on its own


def main(wanted: list[str]) -> None:
    names = [m.name for m in pkgutil.iter_modules(tests.bench.__path__) if m.name not in SKIP]
    for name in names:
        if name in wanted or not (wanted or name in BY_NAME):
            importlib.import_module(f"tests.bench.{name}").run()


if __name__ == "__main__":
    main(sys.argv[1:])
