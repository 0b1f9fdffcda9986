"""The commented default file and the JSON schema, both made from the models, so that neither can drift from them."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Iterator
from typing import Any

from pydantic.fields import FieldInfo

from agent.config_faults import keys, tables
from agent.config_grid import keys_of
from agent.config_model import Config, Provider
from agent.grids.table import LIVE, PROVIDERS
from agent.prices.table import DAY_AHEAD
from agent.prices.table import PROVIDERS as PRICES

_HEAD = """\
# Joulecar's configuration: every key with its default, commented out. Take the # off what you change.
#
# A duration is text with its unit: "250ms", "5s", "1m", "1h", "1d". A secret never stands in this file: it comes
# from an environment variable (..._env) or from a file (..._file). Keys that Joulecar does not know are refused.
# `joulecar check --config FILE` says what a configuration gives on this machine.
"""
_WIDTH = 112


def default_toml(kinds: Collection[str]) -> str:
    """The example file. kinds: the kinds of engine there are."""
    listed = {
        "engine.kind": "Kinds: auto, " + ", ".join(kinds) + ".",
        "grid.providers": "Providers, in the order of auto: "
        + "; ".join(f"{k.name} (needs {k.needs}): {k.about}" for k in PROVIDERS.values())
        + ". Live: "
        + "; ".join(f"{k.name}: {k.about}" for k in LIVE.values())
        + ".",
        "site.price.provider": "fixed: the same at every hour; "
        + "; ".join(f"{k.name}: {k.about} ({k.licence})" for k in DAY_AHEAD.values())
        + ".",
    }
    lines = [_HEAD]
    for header, section in tables().items():
        name = header.strip("[]")
        lines += _comment(section.__doc__ or "")
        # A list of tables stays commented out: an empty one would be an engine without a URL.
        lines.append(f"# {header}" if header.startswith("[[") else header)
        for key, info in keys(section).items():
            lines += _comment(" ".join(filter(None, (info.description, listed.get(f"{name}.{key}")))), "#   ")
            lines.append(f"# {key} = {toml(shown(info))}")
        lines.append("")
        if name == "grid":
            lines += _providers()
    return "\n".join(lines)


def _providers() -> Iterator[str]:
    """The live sources' tables, each with the keys that it takes."""
    for kind in LIVE.values():
        yield from _comment(f"{kind.about}. Every {kind.every_s:g} s. Licence: {kind.licence}.")
        yield f"# [grid.{kind.name}]"
        for key, info in Provider.model_fields.items():
            if key in keys_of(kind):
                yield from _comment(info.description or "", "#   ")
                yield f"# {key} = {toml(shown(info))}"
        yield ""


def json_schema(kinds: Collection[str]) -> str:
    """JSON schema (draft 2020-12) of the file, for editors that complete and check TOML."""
    schema = Config.model_json_schema()
    schema["$defs"]["Engine"]["properties"]["kind"]["enum"] = ["auto", *kinds]
    schema["$defs"]["Engine"]["required"] = ["url"]
    schema["$defs"]["Budget"]["required"] = ["name", "limit"]
    schema["$defs"]["Grid"]["properties"]["providers"]["anyOf"][1]["items"]["enum"] = [*PROVIDERS, *LIVE]
    schema["$defs"]["Price"]["properties"]["provider"]["enum"] = ["", *PRICES]
    provider = Provider.model_json_schema()["properties"]
    for kind in LIVE.values():
        keys = {key: provider[key] for key in Provider.model_fields if key in keys_of(kind)}
        table = {"type": "object", "properties": keys, "additionalProperties": False, "description": kind.about}
        schema["$defs"]["Grid"]["properties"][kind.name] = table
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps({**head, **schema}, indent=2, ensure_ascii=False) + "\n"


def shown(info: FieldInfo) -> Any:
    """What the example file writes for a key: its default, or an example where the default is that it is not set."""
    unset = info.default in (None, "", {})
    return info.examples[0] if unset and info.examples else info.default


def toml(value: Any) -> str:
    """A value as TOML writes it. JSON's text, numbers, booleans and lists are TOML's as well."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str, mark: str = "# ") -> Iterator[str]:
    yield from textwrap.wrap(
        text, _WIDTH, initial_indent=mark, subsequent_indent=mark, break_on_hyphens=False, break_long_words=False
    )
