"""`joulecar check`: what is there, what is not, and the fix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent import cli
from agent.commands.check import Found, lines


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
    assert re.search(r"-- +grid +none .*\n +fix: set zone", said)
    assert "2 to mend" in said


def test_a_source_that_must_be_there_and_is_not_is_a_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, said = check(capsys, tmp_path, f'[sources]\nnvml = "off"\nrapl = "on"\nsysfs = "{tmp_path}"\n')
    assert "3 to mend" in said


def test_the_grid_line_says_value_kind_and_source(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, said = check(capsys, tmp_path, '[sources]\nnvml = "off"\n\n[grid]\nzone = "FR"\nproviders = ["table"]\n')
    (line,) = [text for text in said.splitlines() if re.search(r"ok +grid +FR ", text)]
    assert "gCO2e/kWh, yearly, average" in line
    assert "Ember" in line


def test_a_live_source_is_shown_with_its_licence_also_when_it_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    grid = f'[grid]\nzone = "DE"\nproviders = ["file", "table"]\n[grid.file]\npath = "{tmp_path / "no"}"\n'
    text = f'[sources]\nnvml = "off"\n\n{grid}'
    code, said = check(capsys, tmp_path, text)
    assert code == 1
    assert re.search(r"ok +grid +file +asked every 60 s; licence: yours", said)
    assert re.search(r"-- +grid +file ", said)
    assert re.search(r"ok +grid +DE +.*yearly", said)


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
