"""[grid] and its providers' tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import parse
from agent.errors import ConfigError
from agent.grids.table import LIVE, choose, live

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


def test_no_live_source_is_asked_without_being_named() -> None:
    assert live(parse('[grid]\nzone = "FR"\n', env=ENV).grid) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('zone = "FR"\nproviders = ["energinet"]', "grid.zone: 'FR' is not covered by energinet"),
        ('zone = "DE"\nproviders = ["energy_chart"]', 'did you mean "energy_charts"'),
        ('zone = "DE"\nproviders = ["entsoe"]', "grid.entsoe: lacks token_env or token_file"),
        ('providers = ["rte"]', "grid.zone: is missing, but providers asks for rte"),
        ('zone = "FR"\n[grid.rte]\ntimeout = "3s"', "grid.rte: would do nothing: grid.providers does not name it"),
        ('zone = "FR"\nproviders = ["rte"]\n[grid.rte]\ntoken_env = "KEY"', "grid.rte.token_env: would do nothing"),
        ('zone = "FR"\nproviders = ["rte"]\n[grid.rte]\nregoin = "x"', 'did you mean "region"'),
        ('zone = "FR"\nproviders = ["rte"]\n[grid.rte]\ntimeout = 3', "grid.rte.timeout"),
        ('zone = "FR"\nproviders = ["rte"]\nrte = "x"', "grid.rte: must be a table"),
        ('zone = "FR"\nproviders = ["rte"]\n[grid.rte]\nbase_url = "odre.example"', "grid.rte.base_url"),
        (
            'zone = "US-CA"\nproviders = ["watttime", "table"]\n[grid.watttime]\nuser = "u"\npassword_env = "WORD"',
            "mixes watttime, which is marginal, with averages",
        ),
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
    assert live(grid) is kind


def test_a_key_never_shows() -> None:
    text = '[grid]\nzone = "DE"\nproviders = ["entsoe"]\n[grid.entsoe]\ntoken_env = "KEY"\ntimeout = "0"\n'
    assert "s3cret" not in faults(text)
    good = parse(text.replace('timeout = "0"\n', ""), env=ENV)
    assert "s3cret" not in repr(good)
