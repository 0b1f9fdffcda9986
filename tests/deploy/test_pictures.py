"""The pictures in the README: they show today's dashboards, and what a query gives is what is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from deploy.grafana.generate import BOARDS, FOLDER
from tests.pictures.__main__ import PICTURES, SHOWN
from tests.pictures.board import DrawnBoard, DrawnPanel, read
from tests.pictures.draw import DPI, Found, picture, size_in
from tests.pictures.units import shown

DRAWN = [read(FOLDER / f"{board.uid}.json") for board in BOARDS]
README = (FOLDER.parents[2] / "README.md").read_text(encoding="utf-8")
START_S = 1_790_000_000.0

each_board = pytest.mark.parametrize("board", DRAWN, ids=[b.uid for b in DRAWN])


@each_board
def test_the_readme_shows_a_picture_of_each_dashboard_as_it_is_laid_out_today(board: DrawnBoard) -> None:
    path = PICTURES / f"{board.uid}.png"
    assert f"(deploy/grafana/pictures/{path.name})" in README
    assert board.uid in SHOWN
    with Image.open(path) as image:
        assert image.size == pytest.approx([side * DPI for side in size_in(board)], abs=1), "run `make pictures`"


def test_every_kind_of_panel_is_drawn_with_its_data_and_without(tmp_path: Path) -> None:
    board = next(b for b in DRAWN if b.uid == "joulecar-live")
    assert {p.kind for p in board.panels} == {p.kind for b in DRAWN for p in b.panels}, "the live one has every kind"
    drawn = {}
    for name, values in (("full", [(START_S + 60.0 * i, float(i % 2)) for i in range(20)]), ("empty", [])):
        found = {p.id: [_found(p, t.legend, values) for t in p.targets] for p in board.asking()}
        picture(board, found, "everything", tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            drawn[name] = image.convert("RGB").tobytes()
    assert len(drawn["full"]) == len(drawn["empty"])
    assert drawn["full"] != drawn["empty"]


def _found(panel: DrawnPanel, legend: str, values: list[tuple[float, float]]) -> Found:
    labels = dict.fromkeys(panel.label_columns(), "x") | {"engine": "chat", "use": "idle"}
    return Found(legend, ((labels, values),) if values else ())


def test_every_unit_of_a_panel_or_a_column_can_be_written() -> None:
    units = {p.unit for b in DRAWN for p in b.asking()}
    units |= {unit for b in DRAWN for p in b.asking() for unit in p.column_units().values()}
    assert len(units) > 10
    assert all(shown(1234.5, unit) for unit in units)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1043.0, "watt", "1.04 kW"),
        (0.0, "joule", "0 J"),
        (259_000.0, "joule", "259 kJ"),
        (0.004, "joule", "4 mJ"),
        (13_700.0, "si:gCO2e", "13.7 kgCO2e"),
        (0.5, "si:gCO2e", "0.5 gCO2e"),
        (0.0173, "suffix:g", "0.0173 g"),
        (0.66, "percentunit", "66%"),
        (0.0045, "percentunit", "0.45%"),
        (57.4 * 2**20, "bytes", "57.4 MiB"),
        (45.0, "s", "45 s"),
        (5400.0, "s", "1.5 h"),
        (2.5e-15, "sci", "2e-15"),
        (55.5e6, "short", "55.5M"),
        (12.0, "kwatth", "12 kWh"),
        (1.7919e12, "dateTimeAsIso", "Tue 13 Oct 14:00"),
    ],
)
def test_a_number_is_written_with_its_unit(value: float, unit: str, text: str) -> None:
    assert shown(value, unit) == text
