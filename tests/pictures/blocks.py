"""Scrapes of the past, as blocks that a Prometheus can open."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from exporters.exposition import labels_of
from exporters.families import FAMILIES
from tests.fakes.prometheus import program
from tests.pictures.day import Seen

BLOCK = "18h"  # two-hour blocks would have promtool read the file once for each


def write(seen: Iterable[Seen], folder: Path) -> Path:
    """The folder of blocks. promtool reads OpenMetrics with a time at each sample."""
    text, tsdb = folder / "scrapes.om", folder / "tsdb"
    folder.mkdir(parents=True, exist_ok=True)
    with text.open("w", encoding="utf-8") as file:
        for scrape in seen:
            file.writelines(_lines(scrape))
        file.write("# EOF\n")
    argv = [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
    done = subprocess.run(
        [*argv, f"--max-block-duration={BLOCK}", str(text), str(tsdb)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"promtool: {done.stderr[-2000:]}")
    text.unlink()
    return tsdb


def _lines(scrape: Seen) -> Iterable[str]:
    target = f'job="joulecar",cluster="{scrape.cluster}",instance="{scrape.instance}"'
    for family in FAMILIES:
        for values, value in family.rows(scrape.snapshot):
            if value is not None:
                labels = labels_of(family.labels, values).text[1:-1]
                yield f"{family.name}{{{target}{',' if labels else ''}{labels}}} {value!r} {scrape.at_s:.0f}\n"
    for name, value in scrape.process.items():
        yield f"{name}{{{target}}} {value!r} {scrape.at_s:.0f}\n"
