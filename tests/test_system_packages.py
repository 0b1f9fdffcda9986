"""The script that gets the programs which the tests run for real."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("system-packages.sh")
COMMANDS = ("cc", "g++", "make", "prometheus", "promtool", "amtool", "prometheus-alertmanager", "victoria-metrics")


@dataclass
class Machine:
    """A machine whose PATH is one folder of small scripts."""

    path: Path

    def has(self, *names: str, does: str = "exit 0") -> Machine:
        for name in names:
            (self.path / name).write_text(f"#!/bin/sh\n{does}\n")
            (self.path / name).chmod(0o755)
        return self

    def apt_calls(self) -> list[str]:
        calls = self.path / "apt-calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", SCRIPT], env={"PATH": str(self.path)}, capture_output=True, text=True, check=False
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    for name in ("env", "mktemp", "rm", "tail"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / name).symlink_to(found)
    here = Machine(tmp_path)
    here.has("apt-get", does=f'echo "$*" >> {tmp_path}/apt-calls')
    return here.has("id", does="echo 1000")


def test_it_says_and_does_nothing_where_all_is_there(machine: Machine) -> None:
    result = machine.has(*COMMANDS).run()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert machine.apt_calls() == []


def test_without_rights_it_names_the_command_in_one_line(machine: Machine) -> None:
    result = machine.has(*(name for name in COMMANDS if not name.startswith("prom") or "-" in name)).run()
    assert result.returncode == 1
    assert result.stderr.endswith("sudo apt-get install prometheus\n"), "each package once"
    assert "prometheus promtool" in result.stderr
    assert result.stderr.count("\n") == 1
    assert machine.apt_calls() == []


@pytest.mark.parametrize("rights", ["root", "sudo"])
def test_with_rights_it_installs_what_is_missing(machine: Machine, rights: str) -> None:
    if rights == "root":
        machine.has("id", does="echo 0")
    else:
        machine.has("sudo", does='shift\n"$@"').has("true")
    result = machine.has(*(name for name in COMMANDS if name not in ("g++", "make"))).run()
    assert result.returncode == 0, result.stderr
    update, install = machine.apt_calls()
    assert update.endswith("update")
    assert install.endswith("install --yes --no-install-recommends build-essential")


def test_sudo_that_wants_a_password_is_not_used(machine: Machine) -> None:
    result = machine.has("sudo", does="exit 1").run()
    assert result.returncode == 1
    assert machine.apt_calls() == []


def test_a_failing_installation_shows_why(machine: Machine) -> None:
    machine.has("id", does="echo 0").has("apt-get", does="echo 'E: no network'\nexit 100")
    result = machine.run()
    assert result.returncode == 1
    assert "E: no network" in result.stderr
    assert "apt-get install build-essential prometheus prometheus-alertmanager victoria-metrics failed" in result.stderr


def test_a_machine_without_apt_is_told_what_it_needs(machine: Machine) -> None:
    (machine.path / "apt-get").unlink()
    result = machine.run()
    assert result.returncode == 1
    assert f"The tests need {' '.join(COMMANDS)}." in result.stderr
