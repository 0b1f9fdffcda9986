"""The commands as a shell sees them: what they print where, and how they end."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

import exporters
from tests.conftest import Golden
from tests.e2e.worlds import BRISK, GPUS_ALONE, engine, up
from tests.fakes.daemon import Daemon, joulecar
from tests.fakes.engine import FakeEngine
from tests.fakes.nvml.driver import FakeDriver, FakeGpu

pytestmark = pytest.mark.e2e

DEPLOY = Path(__file__).parents[2] / "deploy"
GPU = "GPU-aaaa"
FRANCE = '[grid]\nzone = "FR"\nproviders = ["table"]\n'
BAD = """\
[agent]
intervall = "1s"
window = 5

[server]
listen = "nowhere"

[[engine]]
url = "ftp://127.0.0.1:8000"

[grid]
zone = "Frnace"
"""
FAULTS = ("agent.intervall", "agent.window", "server.listen", "engine[0].url", "grid.zone")


@pytest.fixture
def driver(tmp_path: Path) -> FakeDriver:
    return FakeDriver(tmp_path / "driver", [FakeGpu(GPU, power_w=300.0)], log_calls=False)


def config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "joulecar.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("command", ["run", "once", "check"])
def test_a_bad_configuration_is_told_at_once_and_whole(tmp_path: Path, command: str) -> None:
    said = joulecar(command, "--config", config(tmp_path, BAD))
    assert (said.rc, said.out) == (2, "")
    assert [fault for fault in FAULTS if fault not in said.err] == []
    assert len(said.err.splitlines()) == 1 + len(FAULTS), said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run", "--config", "no-such.toml"], "no-such.toml"),
        (["run", "--engine", "gopher://x"], "--engine"),
        (["run", "--listen", "99999"], "--listen"),
        (["once", "--window", "soon"], "--window"),
    ],
)
def test_a_bad_argument_ends_with_2_and_its_name(arguments: list[str], named: str) -> None:
    said = joulecar(*arguments)
    assert (said.rc, said.out) == (2, "")
    assert named in said.err
    assert "Traceback" not in said.err


def test_a_port_in_use_is_one_line_that_names_it(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        quiet = config(tmp_path, GPUS_ALONE + '[agent]\nlog_level = "error"\n')
        said = joulecar("run", "--config", quiet, "--listen", address)
    assert (said.rc, said.out) == (1, "")
    (line,) = said.err.splitlines()
    assert line.startswith(f"joulecar: cannot listen on {address}: Address already in use")
    assert "--listen" in line


def test_a_trace_that_cannot_be_written_is_one_line_that_names_it(tmp_path: Path) -> None:
    quiet = config(tmp_path, GPUS_ALONE + '[agent]\nlog_level = "error"\n')
    said = joulecar("run", "--config", quiet, "--listen", "127.0.0.1:0", "--record", str(tmp_path / "no" / "trace"))
    assert said.rc == 1
    (line,) = said.err.splitlines()
    assert str(tmp_path / "no" / "trace") in line
    assert "No such file or directory" in line


def test_once_measures_one_window(tmp_path: Path, driver: FakeDriver) -> None:
    with FakeEngine() as served:
        served.change(generated_per_s=50.0)
        text = BRISK + GPUS_ALONE + FRANCE + engine("e", served.url)
        said = joulecar("once", "--json", "--window", "3s", "--config", config(tmp_path, text), env=driver.env())
    assert said.rc == 0, said.err
    told = json.loads(said.out)
    (gpu,) = told["devices"]
    assert gpu["device"] == GPU
    # From the first reading to the last: the window, less the time to find the driver.
    assert 300.0 * 2.0 < gpu["energy_j"] <= 300.0 * 3.5
    assert sum(e["energy_j"] for e in told["energy"]) == pytest.approx(gpu["energy_j"], rel=1e-9)
    (served_model,) = told["models"]
    assert served_model["tokens"]["generated"] > 50


def test_once_measures_beside_a_daemon_and_a_second_daemon_does_not_start(tmp_path: Path, driver: FakeDriver) -> None:
    (tmp_path / "state").mkdir()
    config = f'[agent]\nstate_dir = "{tmp_path / "state"}"\n' + GPUS_ALONE
    with Daemon(tmp_path / "agent", config, env=driver.env()) as daemon:
        daemon.scrape_for(1.0)
        once = joulecar("once", "--window", "1s", "--config", str(daemon.config), env=driver.env())
        assert once.rc == 0, once.err
        second = joulecar("run", "--config", str(daemon.config), env=driver.env())
    assert second.rc == 1
    assert "in use by another agent" in second.err.splitlines()[-1]


def test_the_daemon_loads_nothing_that_it_has_no_use_for(tmp_path: Path, driver: FakeDriver) -> None:
    config = GPUS_ALONE + engine("e", "http://127.0.0.1:9")
    with Daemon(tmp_path / "agent", config, env={**driver.env(), "PYTHONPROFILEIMPORTTIME": "1"}) as daemon:
        daemon.wait_for(lambda s: up(s, "engine", "e") == 0)
        loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in daemon.lines(r"^import time:")}
    assert {"httpx", "pynvml"} <= loaded
    assert loaded.isdisjoint({"rich", "pandas", "numpy", "codecarbon", "matplotlib", "pytest"})


def test_once_prints_a_table_on_a_pipe_without_colour(tmp_path: Path, driver: FakeDriver) -> None:
    said = joulecar(
        "once", "--window", "1s", "--config", config(tmp_path, BRISK + GPUS_ALONE + FRANCE), env=driver.env()
    )
    assert (said.rc, said.err) == (0, "")
    assert "NVIDIA H100" in said.out
    assert "\x1b" not in said.out


def test_once_ends_with_1_where_nothing_can_be_measured(tmp_path: Path) -> None:
    nothing = config(tmp_path, BRISK + GPUS_ALONE.replace("[sources]", '[sources]\nnvml = "off"'))
    assert joulecar("once", "--window", "1s", "--config", nothing).rc == 1


def test_check_finds_all_well(tmp_path: Path, driver: FakeDriver) -> None:
    with FakeEngine() as served:
        text = GPUS_ALONE + FRANCE + engine("e", served.url, "gpus = [0]")
        said = joulecar("check", "--config", config(tmp_path, text), env=driver.env())
    assert (said.rc, said.err) == (0, "")
    assert said.out.rstrip().endswith("all well")
    for found in (GPU, "NVIDIA H100", "vllm", "tiny-llama", "FR"):
        assert found in said.out


def test_check_ends_with_1_and_the_fix_where_an_engine_is_away(tmp_path: Path, driver: FakeDriver) -> None:
    with FakeEngine() as gone:
        url = gone.url
    said = joulecar("check", "--config", config(tmp_path, GPUS_ALONE + FRANCE + engine("e", url)), env=driver.env())
    assert said.rc == 1
    assert "connection refused" in said.out
    assert said.out.rstrip().endswith("1 to mend")


@pytest.mark.parametrize("command", ["", "run", "once", "check", "demo", "replay", "config", "metrics"])
def test_the_help_is_as_it_was_reviewed(golden: Golden, command: str) -> None:
    said = joulecar(*[command] * bool(command), "--help")
    assert (said.rc, said.err) == (0, "")
    golden.check(f"help{'-' * bool(command)}{command}.txt", said.out)


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["metrics"], Path(exporters.__file__).parent / "METRICS.md"),
        (["config"], DEPLOY / "config.example.toml"),
        (["config", "--schema"], DEPLOY / "config.schema.json"),
    ],
)
def test_generated_files_are_what_the_commands_print(arguments: list[str], file: Path) -> None:
    said = joulecar(*arguments)
    assert (said.rc, said.err) == (0, "")
    assert said.out == file.read_text(encoding="utf-8"), "run `make docs`"
