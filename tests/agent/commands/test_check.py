"""`joulecar check`: what is there, what is not, and the fix."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent import cli
from agent.clock import SystemClock
from agent.commands.grid_lines import grid
from agent.commands.report import Found, lines
from agent.config import parse
from tests.fakes.clock import FakeClock
from tests.fakes.metadata import aws, serving


def check(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, *argv: str) -> tuple[int, str]:
    config = tmp_path / "joulecar.toml"
    config.write_text(text)
    code = cli.main(["check", "--config", str(config), *argv])
    return code, capsys.readouterr().out


def test_without_gpu_rapl_engine_and_zone_everything_missing_has_its_fix(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, said = check(capsys, tmp_path, f'[sources]\nnvml = "off"\nsysfs = "{tmp_path}"\n')
    assert code == 1
    assert re.search(r"-- +rapl .*\n +fix: ", said)
    assert re.search(r"-- +engine +none ", said)
    assert re.search(r"-- +grid +zone +no zone configured or found: no grams\n +fix: set zone", said)
    assert "2 to mend" in said


def test_a_source_that_must_be_there_and_is_not_is_a_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, said = check(capsys, tmp_path, f'[sources]\nnvml = "off"\nrapl = "on"\nsysfs = "{tmp_path}"\n')
    assert "3 to mend" in said


def grid_rows(said: str) -> dict[str, dict[str, str]]:
    """The grid's table, by source and column: columns begin where the header says."""
    head = next(line for line in said.splitlines() if "gCO2e/kWh" in line)
    starts = [m.start() for m in re.finditer(r"(?<=  )\S", head)]
    ends = [*starts[1:], None]
    rows: dict[str, dict[str, str]] = {}
    for line in said.splitlines():
        if (match := re.match(r"(?:ok|--)  grid +(\S+)", line)) and line[starts[0] - 1] == " ":
            rows.setdefault(match[1], {head[a:b].strip(): line[a:b].strip() for a, b in zip(starts, ends, strict=True)})
    return rows


def test_one_table_says_zone_how_found_source_value_kind_age_and_licence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = '[sources]\nnvml = "off"\n\n[grid]\nzone = "FR"\nproviders = ["table"]\n'
    _, said = check(capsys, tmp_path, text)
    row = grid_rows(said)["table"]
    assert (row["zone"], row["found"], row["kind"]) == ("FR", "grid.zone", "yearly")
    assert float(row["gCO2e/kWh"]) == pytest.approx(41, abs=20)
    assert row["signal, basis"] == "average, lifecycle"
    assert row["age"] == "-"
    assert "Ember" in row["licence"]
    assert "CC BY 4.0" in row["licence"]


def test_a_live_source_stands_in_the_table_with_its_value_and_age(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    told = tmp_path / "told.csv"
    now_s = SystemClock().now().wall_s
    slot = [datetime.fromtimestamp(now_s + offset_s, UTC).isoformat() for offset_s in (-5400, -1800)]
    told.write_text(f"from,to,g_per_kwh,zone\n{slot[0]},{slot[1]},123.5,DE\n")
    grid = f'[grid]\nzone = "Germany"\nproviders = ["file", "table"]\n[grid.file]\npath = "{told}"\n'
    _, said = check(capsys, tmp_path, f'[sources]\nnvml = "off"\n\n{grid}')
    row = grid_rows(said)["file"]
    assert (row["zone"], row["gCO2e/kWh"], row["kind"], row["age"]) == ("DE", "123.5", "actual", "30 min")
    assert (row["asked"], row["licence"]) == ("every 60 s", "licence: yours")


def test_a_live_source_is_shown_with_its_licence_also_when_it_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    grid = f'[grid]\nzone = "DE"\nproviders = ["file", "table"]\n[grid.file]\npath = "{tmp_path / "no"}"\n'
    code, said = check(capsys, tmp_path, f'[sources]\nnvml = "off"\n\n{grid}')
    assert code == 1
    row = grid_rows(said)["file"]
    assert (row["zone"], row["gCO2e/kWh"], row["kind"]) == ("DE", "-", "-")
    assert row["licence"] == "licence: yours"
    assert len(re.findall(r"^-- +grid +file ", said, re.MULTILINE)) == 2, "its row, and what is wrong with it"
    assert grid_rows(said)["table"]["kind"] == "yearly"


@pytest.mark.parametrize(
    ("zone", "source", "licence"),
    [("FR", "rte", "Licence Ouverte"), ("DE", "energy_charts", "forbid commercial use"), ("GB", "neso", "CC BY 4.0")],
)
def test_what_auto_would_ask_is_named_with_its_licence_before_it_is_asked(zone: str, source: str, licence: str) -> None:
    settings = parse(f'[grid]\nzone = "{zone}"', env={})
    said = "\n".join(lines(list(grid(settings, FakeClock(), ask=False)), colour=False))
    row = grid_rows(said)[source]
    assert (row["zone"], row["gCO2e/kWh"]) == (zone, "-")
    assert licence in row["licence"]


def test_a_zone_that_the_cloud_tells_is_looked_for_and_shown(tmp_path: Path) -> None:
    with serving(aws("eu-west-3")) as cloud:
        settings = parse('[grid]\nproviders = ["table"]', env={"JOULECAR_METADATA": cloud.url})
        (before,) = grid(settings, FakeClock(), ask=False)
        assert cloud.asked == [], "a daemon's start does not wait for it"
        assert (before.subject, before.ok, before.fault) == ("zone", True, False)
        said = "\n".join(lines(list(grid(settings, SystemClock(), ask=True)), colour=False))
    row = grid_rows(said)["table"]
    assert (row["zone"], row["found"]) == ("aws:eu-west-3", "aws metadata says eu-west-3")


def test_a_zone_without_any_figure_says_so_and_not_that_no_zone_is_set() -> None:
    settings = parse('[grid]\nmetadata = "off"', env={"JOULECAR_POD_REGION": "eu-west-3"})
    unknown = replace(settings, grid=replace(settings.grid, zone="Monaco", providers=("table",)))
    (line,) = grid(unknown, FakeClock(), ask=True)
    assert "no carbon intensity is known for MC" in line.detail
    assert line.fault


def test_a_bad_configuration_ends_with_2_and_every_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text('[agent]\nintervall = "1s"\nwindow = 5\n\n[grid]\nzone = "Frnace"\n')
    code = cli.main(["check", "--config", str(config)])
    err = capsys.readouterr().err
    assert code == 2
    for word in ("agent.intervall", "interval", "agent.window", "5s", "grid.zone", "France"):
        assert word in err


def test_colour_is_for_terminals_only() -> None:
    found = [Found("grid", "FR", True, "fine"), Found("nvml", "nvml", False, "gone", "mend it")]
    assert "\x1b" not in "".join(lines(found, colour=False))
    assert "\x1b[32mok" in "".join(lines(found, colour=True))
