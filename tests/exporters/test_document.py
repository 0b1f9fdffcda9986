"""METRICS.md says what is served."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector

import exporters
from exporters.document import PROCESS, metrics_md
from exporters.families import FAMILIES

WRITTEN = Path(exporters.__file__).parent / "METRICS.md"


def test_metrics_md_is_fresh() -> None:
    assert WRITTEN.read_text(encoding="utf-8") == metrics_md(), "run `make docs`"


def test_every_family_has_its_heading_type_and_help() -> None:
    text = metrics_md()
    for family in FAMILIES:
        assert f"### {family.name}\n\n{family.type}, {family.unit}; labels: " in text
        assert family.help in text


def test_process_metrics_are_those_that_are_served() -> None:
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    assert {sample.name for metric in registry.collect() for sample in metric.samples} == set(PROCESS)
