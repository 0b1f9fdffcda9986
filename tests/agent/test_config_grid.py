"""[grid] and its providers' tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import parse
from agent.errors import ConfigError
from agent.grids.table import LIVE, choose, live, marginal

ENV = {"KEY": "s3cret", "WORD": "passw0rd"}


def faults(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        parse(text, env=ENV)
    return str(raised.value)


def test_a_live_source_takes_its_own_table() -> None:
    grid = parse(
        '[grid]\nzone = "DE"\nproviders = ["electricity_maps", "table"]\n'
        '[grid.electricity_maps]\ntoken_env = "KEY"\nbase_url = "http://127.0.0.1:9/v3"\ntimeout = "3s"\n',
        env=ENV,
    ).grid
    own = grid.tables["electricity_maps"]
    assert own.token is not None
    assert (own.token.value, own.base_url, own.timeout_s) == ("s3cret", "http://127.0.0.1:9/v3", 3.0)
    assert (kind := live(grid)) is not None
    assert kind.name == "electricity_maps"
    assert choose(grid) is not None


def test_a_table_below_auto_is_for_the_source_that_auto_may_take() -> None:
    grid = parse('[grid]\nzone = "FR"\n[grid.rte]\ntimeout = "3s"\n', env=ENV).grid
    assert (kind := live(grid)) is not None
    assert (kind.name, grid.tables["rte"].timeout_s) == ("rte", 3.0)


def test_a_zone_without_a_yearly_figure_will_do_where_a_live_source_covers_it() -> None:
    keyed = '[grid]\nzone = "MC"\n[grid.electricity_maps]\ntoken_env = "KEY"\n'
    assert (kind := live(parse(keyed, env=ENV).grid)) is not None
    assert kind.name == "electricity_maps"
    assert "no yearly carbon intensity" in faults('[grid]\nzone = "MC"\n')
    assert "is not a zone" in faults(keyed.replace("MC", "Atlantis"))


def test_a_named_source_may_wait_for_a_zone_that_the_cloud_tells() -> None:
    assert parse('[grid]\nproviders = ["rte", "table"]\n', env=ENV).grid.zone is None


def test_the_environment_says_the_zone_if_the_file_does_not() -> None:
    def told(text: str, **env: str) -> tuple[str | None, str, str]:
        grid = parse(text, env=env).grid
        return grid.zone, grid.found, grid.found_detail

    assert told("", JOULECAR_ZONE="France") == ("France", "env", "JOULECAR_ZONE")
    assert told('[grid]\nzone = "auto"', JOULECAR_ZONE="FR")[0] == "FR"
    assert told('[grid]\nzone = "DE"', JOULECAR_ZONE="FR", AWS_REGION="eu-west-3") == ("DE", "config", "grid.zone")
    assert told("", JOULECAR_ZONE="FR", AWS_REGION="us-east-1")[0] == "FR"
    assert told("", AWS_REGION="eu-west-3") == ("aws:eu-west-3", "env", "AWS_REGION in the environment")
    assert told("", AWS_REGION="mars-1")[:2] == (None, "unknown")


def test_a_pods_labels_say_the_zone(tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.write_text('app="x"\ntopology.kubernetes.io/region="westeurope"\n')
    grid = parse(f'[grid]\npod_labels = "{labels}"', env={}).grid
    assert (grid.zone, grid.found) == ("azure:westeurope", "pod_label")
    assert parse('[grid]\npod_labels = ""', env={}).grid.zone is None


def test_a_wrong_zone_in_the_environment_is_a_fault_that_names_it() -> None:
    with pytest.raises(ConfigError) as raised:
        parse("", env={"JOULECAR_ZONE": "Frnace"})
    assert "JOULECAR_ZONE" in str(raised.value)
    assert "FR (France)" in str(raised.value)


def test_a_source_that_does_not_cover_a_zone_that_was_only_found_is_no_fault_of_the_file() -> None:
    grid = parse('[grid]\nproviders = ["rte", "table"]\n', env={"AWS_REGION": "us-east-1"}).grid
    assert grid.zone == "aws:us-east-1"


@pytest.mark.parametrize(
    ("text", "env", "asked"),
    [
        ("", {}, "http://169.254.169.254"),
        ('[grid]\nmetadata = "off"', {}, ""),
        ("", {"JOULECAR_METADATA": "OFF"}, ""),
        ("", {"JOULECAR_METADATA": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
        ('[grid]\nmetadata = "off"', {"JOULECAR_METADATA": "http://127.0.0.1:9"}, ""),
    ],
)
def test_the_clouds_metadata_is_asked_unless_it_is_switched_off(text: str, env: dict[str, str], asked: str) -> None:
    assert parse(text, env=env).grid.metadata_url == asked


def test_geo_ip_is_off_and_asks_only_who_is_named() -> None:
    assert parse("", env={}).grid.geoip_url == ""
    on = '[grid]\ngeoip = true\ngeoip_url = "http://127.0.0.1:9/country"\n'
    assert parse(on, env={}).grid.geoip_url == "http://127.0.0.1:9/country"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('zone = "FR"\nproviders = ["energinet"]', "grid.zone: 'FR' is not covered by energinet"),
        ('zone = "DE"\nproviders = ["energy_chart"]', 'did you mean "energy_charts"'),
        ('zone = "DE"\nproviders = ["entsoe"]', "grid.entsoe: lacks token_env or token_file"),
        ('providers = ["rte"]\nmetadata = "off"', "grid.zone: is missing, but providers asks for rte"),
        (
            'zone = "FR"\nproviders = ["table"]\n[grid.rte]\ntimeout = "3s"',
            "grid.rte: would do nothing: grid.providers does not name it",
        ),
        ('zone = "FR"\n[grid.entsoe]\ntimeout = "3s"', "grid.entsoe: lacks token_env or token_file"),
        ('zone = "FR"\n[grid.watttime]\nuser = "u"', "grid.watttime: lacks password_env or password_file"),
        (
            'zone = "FR"\nproviders = ["rte", "watttime"]\n[grid.watttime]\nuser = "u"\npassword_env = "WORD"',
            "grid.zone: 'FR' is not covered by watttime",
        ),
        (
            'zone = "FR"\nfixed_g_per_kwh = 50.0\n[grid.entsoe]\ntoken_env = "KEY"',
            "grid.entsoe: would do nothing: with fixed_g_per_kwh, auto asks nobody",
        ),
        ("geoip = true", "grid.geoip_url: is missing"),
        ('geoip_url = "http://a"', "grid.geoip_url: would do nothing"),
        ('geoip = true\ngeoip_url = "ipinfo"', "grid.geoip_url: must begin with http"),
        ('metadata = "on"', "grid.metadata"),
        ('zone = "FR"\nproviders = ["rte"]\n[grid.rte]\ntoken_env = "KEY"', "grid.rte.token_env: would do nothing"),
        ('zone = "FR"\nproviders = ["rte"]\n[grid.rte]\nregoin = "x"', 'did you mean "region"'),
        ('zone = "FR"\nproviders = ["rte"]\n[grid.rte]\ntimeout = 3', "grid.rte.timeout"),
        ('zone = "FR"\nproviders = ["rte"]\nrte = "x"', "grid.rte: must be a table"),
        ('zone = "FR"\nproviders = ["rte"]\n[grid.rte]\nbase_url = "odre.example"', "grid.rte.base_url"),
    ],
)
def test_what_cannot_work_is_said_at_the_door(text: str, words: str) -> None:
    assert words in faults(f"[grid]\n{text}\n")


@pytest.mark.parametrize("name", LIVE)
def test_every_live_source_can_be_built_from_a_configuration(name: str, tmp_path: Path) -> None:
    kind = LIVE[name]
    given = {
        "token": 'token_env = "KEY"',
        "user": 'user = "u"',
        "password": 'password_env = "WORD"',
        "path": f'path = "{tmp_path}"',
        "base_url": 'base_url = "http://127.0.0.1:9"',
    }
    table = "\n".join(given[what] for what in kind.asks)
    region = 'region = "x"\n' if "region" in kind.takes else ""
    grid = parse(f'[grid]\nzone = "DE"\nproviders = ["{name}"]\n[grid.{name}]\n{region}{table}\n', env=ENV).grid
    assert (marginal if kind.signal == "marginal" else live)(grid) is kind


def test_a_key_never_shows() -> None:
    text = '[grid]\nzone = "DE"\nproviders = ["entsoe"]\n[grid.entsoe]\ntoken_env = "KEY"\ntimeout = "0"\n'
    assert "s3cret" not in faults(text)
    good = parse(text.replace('timeout = "0"\n', ""), env=ENV)
    assert "s3cret" not in repr(good)
