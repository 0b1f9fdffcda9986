"""Scrapes of the past, as blocks that a Prometheus can open."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from agent.rules.rule import quoted
from exporters.prometheus import SnapshotCollector
from tests.fakes.program import program
from tests.fakes.prometheus import Prometheus
from tests.fakes.snapshots import HeldSnapshot
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
    _promtool("openmetrics", "--quiet", f"--max-block-duration={BLOCK}", str(text), str(tsdb))
    text.unlink()
    return tsdb


def record(rules: Path, tsdb: Path, work: Path, start_s: float, end_s: float) -> None:
    """What the recording rules would have written, added to the blocks. promtool sees none of its own results, so that
    rules on rules need one round for each level."""
    for number, level in enumerate(_levels(rules), 1):
        file = work / f"rules-{number}.yaml"
        file.write_text(json.dumps({"groups": [{"name": f"level-{number}", "rules": level}]}), encoding="utf-8")
        with Prometheus(work / f"level-{number}", tsdb=tsdb) as prometheus:
            times = (f"--start={start_s:.0f}", f"--end={end_s:.0f}", "--eval-interval=60s")
            _promtool("rules", f"--url={prometheus.url}", *times, f"--output-dir={tsdb}", str(file))


def _levels(rules: Path) -> Iterator[Sequence[dict[str, Any]]]:
    """Recording rules, those first that need no other."""
    groups = yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]
    left = {rule["record"]: rule for group in groups for rule in group["rules"] if "record" in rule}
    while left:
        ready = [r for r in left.values() if not left.keys() & set(re.findall(r"[a-z0-9_:]+", r["expr"]))]
        if not ready:
            raise RuntimeError(f"rules that need each other: {sorted(left)}")
        yield ready
        left = {name: rule for name, rule in left.items() if rule not in ready}


def _promtool(*arguments: str) -> None:
    argv = [program("promtool"), "tsdb", "create-blocks-from", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"promtool: {done.stderr[-2000:]}")


def _lines(scrape: Seen) -> Iterable[str]:
    target = f'job="joulecar",cluster="{scrape.cluster}",instance="{scrape.instance}"'
    for metric in SnapshotCollector(HeldSnapshot(scrape.snapshot)).collect():
        for sample in metric.samples:
            labels = "".join(f",{name}={quoted(value)}" for name, value in sample.labels.items())
            yield f"{sample.name}{{{target}{labels}}} {sample.value!r} {scrape.at_s:.0f}\n"
    for name, value in scrape.process.items():
        yield f"{name}{{{target}}} {value!r} {scrape.at_s:.0f}\n"
