"""Draw all dashboards: python -m tests.pictures [FOLDER]. Some minutes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.grafana.generate import FOLDER
from tests.fakes.prometheus import Prometheus
from tests.pictures import blocks
from tests.pictures.board import DrawnBoard, DrawnPanel, Target, everything, filled, read
from tests.pictures.day import END_S, HOUR_S, MACHINES, Seen, day
from tests.pictures.draw import Found, picture

PICTURES = FOLDER.parent / "pictures"
RULES = FOLDER.parents[1] / "prometheus" / "rules.yaml"
DAY_S = 24 * HOUR_S
POINTS = 240
# What each dashboard is shown with: the time before the end, and the variables.
SHOWN: dict[str, tuple[float, str, dict[str, str]]] = {
    "joulecar-live": (HOUR_S, "cluster paris   agent gpu-a2   engine All   model All   window 5m   last 1 hour", {
        "cluster": "paris", "instance": "gpu-a2.*", "window": "5m", "__rate_interval": "1m", "__range": "1h"}),
    "joulecar-carbon": (DAY_S, "cluster All   agent All   engine All   model All   window 1h   last 24 hours", {
        "window": "1h", "__rate_interval": "12m", "__range": "24h"}),
    "joulecar-fleet": (DAY_S, "cluster All   model All   last 24 hours", {
        "window": "1h", "__rate_interval": "12m", "__range": "24h"}),
}  # fmt: skip


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        tsdb = blocks.write(_all_days(), Path(work))
        blocks.record(RULES, tsdb, Path(work), END_S - DAY_S, END_S)
        with Prometheus(Path(work) / "prometheus", tsdb=tsdb) as prometheus:
            draw(prometheus, folder)


def draw(prometheus: Prometheus, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for uid, (span_s, chosen, values) in SHOWN.items():
        board = read(FOLDER / f"{uid}.json")
        asked = everything("5m", "1m", "1h") | values
        found = {panel.id: _found(prometheus, panel, asked, span_s) for panel in board.asking()}
        picture(board, found, f"{chosen}   (simulated machines)", folder / f"{uid}.png")
        print(f"{folder / uid}.png: {_silent(board, found)}")


def _silent(board: DrawnBoard, found: Mapping[int, list[Found]]) -> str:
    silent = [p.title for p in board.asking() if not any(f.series for f in found[p.id])]
    return f"nothing in {', '.join(silent)}" if silent else "all panels have data"


def _all_days() -> Iterator[Seen]:
    for machine in MACHINES:
        yield from day(machine)


def _found(prometheus: Prometheus, panel: DrawnPanel, values: Mapping[str, str], span_s: float) -> list[Found]:
    return [Found(target.legend, _series(prometheus, target, values, span_s)) for target in panel.targets]


def _series(
    prometheus: Prometheus, target: Target, values: Mapping[str, str], span_s: float
) -> tuple[tuple[dict[str, str], list[tuple[float, float]]], ...]:
    expr = filled(target.expr, values)
    if target.instant:
        return tuple((dict(labels), [(END_S, v)]) for labels, v in prometheus.query(expr, END_S).items())
    step_s = span_s / POINTS
    found = prometheus.query_range(expr, END_S - span_s, END_S, step_s)
    return tuple((dict(labels), points) for labels, points in found.items())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES)
