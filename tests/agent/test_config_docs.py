"""The example file and the schema say what the checker does."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from agent.config import default_toml, engine_kinds, json_schema, parse
from agent.config_docs import shown, toml
from agent.config_faults import keys, tables
from agent.config_grid import keys_of
from agent.grids.table import LIVE, PROVIDERS
from agent.prices.table import PROVIDERS as PRICES
from agent.settings import Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
ENGINE = "[[engine]]\nurl = 'http://127.0.0.1:8000'\n"
BUDGET = {"name": "name = 'b'", "limit": "limit = '1 kWh'"}
PRICE = {  # what a key needs beside it
    "per_kwh": "provider = 'fixed'\ncurrency = 'EUR'",
    "currency": "provider = 'energy_charts'\nzone = 'DE-LU'",
    "zone": "provider = 'energy_charts'",
}
KEYS = [(header, key) for header, section in tables().items() for key in keys(section)]
DEFAULTED = [  # the others are not set by default, and an example stands in their place
    (header, key) for header, key in KEYS if shown(info := tables()[header].model_fields[key]) == info.default
]


def test_the_example_file_is_fresh() -> None:
    assert (DEPLOY / "config.example.toml").read_text("utf-8") == default_toml(), "run: make docs"


def test_the_schema_file_is_fresh() -> None:
    assert (DEPLOY / "config.schema.json").read_text("utf-8") == json_schema(), "run: make docs"


def test_the_example_file_as_it_is_changes_nothing() -> None:
    assert parse(default_toml(), env={}) == Settings()


def uncommented(wanted: tuple[str, str] | None) -> str:
    """The example file with one key's # taken off, or with every default's."""
    lines, header = [], ""
    for line in default_toml().splitlines():
        if found := re.fullmatch(r"(?:# (?=\[\[))?(\[\[?[\w.]+\]\]?)", line):
            header = found[1]
            lines.append(header if not header.startswith("[[") or (wanted and wanted[0] == header) else line)
            continue
        found = re.fullmatch(r"# (\w+) = .*", line)
        lines.append(line.removeprefix("# ") if found and (header, found[1]) == wanted else line)
    return "\n".join(lines)


@pytest.mark.parametrize(("header", "key"), KEYS)
def test_every_key_of_the_example_parses_when_its_mark_is_taken_off(header: str, key: str) -> None:
    text = uncommented((header, key))
    table: Any = tomllib.loads(text)
    for part in header.strip("[]").split("."):
        table = table[part]
    if header == "[[engine]]":
        (table,) = table
        text = text.replace("[[engine]]", "[[engine]]\n" + ("" if key == "url" else 'url = "http://127.0.0.1:8000"'))
    if header == "[[budget]]":
        (table,) = table
        text = text.replace(header, f"{header}\n" + "".join(f"{line}\n" for k, line in BUDGET.items() if k != key))
        if key == "over":  # is for one period alone
            text = text.replace(header, f'{header}\nperiod = "rolling"')
    if header == "[site.price]":
        text = text.replace(header, f"{header}\n{PRICE.get(key, '')}")
    assert key in table
    if key == "custom":  # is for one kind alone
        text = text.replace("[[engine]]", '[[engine]]\nkind = "custom"')
    parse(text, env={})


@pytest.mark.parametrize(("header", "key"), DEFAULTED)
def test_every_default_that_the_example_shows_is_the_default(header: str, key: str) -> None:
    info = tables()[header].model_fields[key]
    text = f"{header}\n{key} = {toml(info.default)}\n"
    if header == "[[engine]]":
        assert parse(ENGINE + f"{key} = {toml(info.default)}\n", env={}) == parse(ENGINE, env={})
    elif header == "[[budget]]":
        least = "\n".join((header, *BUDGET.values()))
        assert parse(f"{least}\n{key} = {toml(info.default)}\n", env={}) == parse(least, env={})
    else:
        assert parse(text, env={}) == Settings()


def test_every_key_says_what_it_does() -> None:
    for header, section in tables().items():
        assert section.__doc__, header
        for key, info in section.model_fields.items():
            assert info.description, f"{header} {key}"


def test_example_and_schema_name_every_kind_of_engine_and_every_provider() -> None:
    example, schema = default_toml(), json_schema()
    assert len(engine_kinds()) >= 7
    for name in (*engine_kinds(), *PROVIDERS, *PRICES):
        assert re.search(rf"\b{name}\b", example)
        assert f'"{name}"' in schema


def test_the_schema_knows_the_keys_that_the_checker_knows_and_no_others() -> None:
    schema = json.loads(json_schema())
    assert set(schema["properties"]) == {header.strip("[]") for header in tables() if "." not in header}
    for section in tables().values():
        definition = schema["$defs"][section.__name__]
        below = set(LIVE) if section.__name__ == "Grid" else set()
        assert set(definition["properties"]) == set(section.model_fields) | below
        assert definition["additionalProperties"] is False


@pytest.mark.parametrize("name", LIVE)
def test_a_live_sources_table_has_the_keys_that_it_takes_and_no_others(name: str) -> None:
    table = json.loads(json_schema())["$defs"]["Grid"]["properties"][name]
    assert set(table["properties"]) == keys_of(LIVE[name])
    assert table["additionalProperties"] is False
    assert f"# [grid.{name}]" in default_toml()


def test_no_key_takes_a_secret_itself() -> None:
    secret = re.compile("token|password|secret|api_key")
    for header, key in KEYS:
        assert not secret.search(key) or key.endswith(("_env", "_file")), (header, key)
