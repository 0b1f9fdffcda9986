"""`make bench`: every benchmark, or those named on the command line."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import tests.bench

SKIP = {"__main__", "harness", "rig"}


def main(wanted: list[str]) -> None:
    names = [m.name for m in pkgutil.iter_modules(tests.bench.__path__) if m.name not in SKIP]
    for name in names:
        if not wanted or name in wanted:
            importlib.import_module(f"tests.bench.{name}").run()


if __name__ == "__main__":
    main(sys.argv[1:])
