"""The zone of a daemon that nobody told one: from the cloud's metadata, on loopback here, and beside the measuring."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.e2e.worlds import BRISK
from tests.fakes.daemon import Daemon
from tests.fakes.metadata import aws, serving

pytestmark = pytest.mark.e2e

CONFIG = BRISK + '[sources]\nnvml = "off"\nrapl = "off"\n[grid]\nproviders = ["table"]\n'


def test_the_clouds_region_prices_the_joules(tmp_path: Path) -> None:
    with serving(aws("eu-west-3")) as cloud, Daemon(tmp_path, CONFIG, env={"JOULECAR_METADATA": cloud.url}) as agent:
        priced = agent.wait_for(lambda s: s.total("joulecar_emissions_gco2e_total") > 0)
        assert priced.value("joulecar_part_up", part="grid", name="zone") == 1
        assert priced.label("joulecar_grid_intensity_info", "zone") == "aws:eu-west-3"
        assert priced.value("joulecar_grid_zone_info", zone="aws:eu-west-3", found="aws") == 1
        assert agent.lines("grid zone: aws:eu-west-3: aws metadata says eu-west-3")


def test_an_address_that_swallows_the_question_delays_no_start_and_gives_no_grams(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"JOULECAR_METADATA": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with Daemon(tmp_path, CONFIG, env=env) as agent:
            last = agent.wait_for(lambda s: s.get("joulecar_part_up", part="grid", name="zone") == 0)
            log = agent.log
    assert log.index("metrics on") < log.index("no zone configured or found")
    assert last.value("joulecar_grid_zone_info", zone="", found="unknown") == 1
    assert last.total("joulecar_emissions_gco2e_total") == 0
    assert "joulecar_grid_intensity_gco2e_per_kwh{" not in last.text


def test_without_anybody_to_ask_the_message_says_what_to_set(tmp_path: Path) -> None:
    config = BRISK + '[sources]\nnvml = "off"\nrapl = "off"\n'
    with Daemon(tmp_path, config, env={"JOULECAR_METADATA": "off", "JOULECAR_POD_REGION": "rack-7"}) as agent:
        agent.wait_for(lambda s: s.get("joulecar_part_up", part="grid", name="zone") == 0)
        assert agent.lines(r"no zone configured or found: no grams .*rack-7.* - set zone = ")
