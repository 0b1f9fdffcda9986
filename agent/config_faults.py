"""What is wrong with a configuration, in words for its author: where, what, and what to write instead.

No value is ever quoted unless it is one of a known few, so a secret in the wrong place does not get into a log.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from agent.config_model import Config, Section
from agent.errors import ConfigFault

_TYPES = {
    "string_type": "must be text, in quotes",
    "int_type": "must be a whole number, without quotes",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number, without quotes",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
}
_LIMITS = {
    "greater_than": ("gt", "must be more than {}"),
    "greater_than_equal": ("ge", "must be {} or more"),
    "less_than": ("lt", "must be less than {}"),
    "less_than_equal": ("le", "must be {} or less"),
}
_SECRETS = ("token", "api_key", "bearer", "secret", "key", "authorization")
_PASSWORDS = ("password", "basic_auth", "basic_auth_password", "passwd")


def did_you_mean(text: str, known: Iterable[str]) -> str:
    """'did you mean "x"?' for a near match, else what there is to choose from."""
    choices = list(known)
    near = difflib.get_close_matches(text[:80].lower(), choices, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else "one of " + ", ".join(choices)


def at(path: str, key: str | int) -> str:
    """A path's child: agent.interval, engine[0], engine[0].url."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    shown = key if key.replace("-", "_").isidentifier() and len(key) <= 64 else repr(key[:64])
    return f"{path}.{shown}" if path else shown


def unknown_key(path: str, key: str, model: type[BaseModel]) -> ConfigFault:
    """A key that the table does not have: a secret, a misspelling, or one that lives in another table."""
    return ConfigFault(at(path, key), "unknown key", _unknown_hint(key, model))


def _unknown_hint(key: str, model: type[BaseModel]) -> str:
    fields = model.model_fields
    if key in _SECRETS and "token_env" in fields:
        return 'a secret is never written in the file: set token_env = "NAME" or token_file = "/path"'
    if key in _PASSWORDS and "basic_auth_password_env" in fields:
        return 'a secret is never written in the file: set basic_auth_password_env = "NAME" or basic_auth_password_file'
    near = difflib.get_close_matches(key[:80].lower(), fields, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    homes = [table for table, section in tables().items() if key in section.model_fields and section is not model]
    if homes:
        return "it belongs to " + " or ".join(homes)
    return "known here: " + ", ".join(fields)


def tables() -> Mapping[str, type[Section]]:
    """Every table by its header as it is written in the file; a table below another one follows it."""
    found: dict[str, type[Section]] = {}
    for name, info in Config.model_fields.items():
        if (section := _section(info)) is None:  # list[Engine]
            found[f"[[{name}]]"] = get_args(info.annotation)[0]
            continue
        found[f"[{name}]"] = section
        for key, below in section.model_fields.items():
            if (lower := _section(below)) is not None:
                found[f"[{name}.{key}]"] = lower
    return found


def keys(section: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """The keys of a table that are no tables themselves."""
    return {key: info for key, info in section.model_fields.items() if _section(info) is None}


def _section(info: FieldInfo) -> type[Section] | None:
    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def from_validation(error: ValidationError, path: str, model: type[BaseModel]) -> list[ConfigFault]:
    """Our faults for pydantic's."""
    return [_fault(details, path, model) for details in error.errors(include_url=False)]


def _fault(details: ErrorDetails, path: str, model: type[BaseModel]) -> ConfigFault:
    kind, context = details["type"], details.get("ctx", {})
    where = path
    for key in details["loc"]:
        where = at(where, key)
    if kind == "extra_forbidden":
        return unknown_key(path, str(details["loc"][-1]), model)
    if kind == "fault":
        return ConfigFault(where, context["message"], context["suggestion"])
    if kind == "literal_error":
        return _literal(where, context, details["input"])
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return ConfigFault(where, words.format(f"{context[key]:g}"))
    return ConfigFault(where, _TYPES.get(kind, details["msg"]))


def _literal(where: str, context: Mapping[str, Any], value: object) -> ConfigFault:
    choices = [word.strip("' ") for word in str(context["expected"]).replace(" or ", ",").split(",")]
    if isinstance(value, bool) and "on" in choices:
        return ConfigFault(where, 'must be "auto", "on" or "off"', f'did you mean "{"on" if value else "off"}"?')
    quoted = ", ".join(f'"{choice}"' for choice in choices)
    near = difflib.get_close_matches(str(value)[:80].lower(), choices, n=1, cutoff=0.6)
    return ConfigFault(where, f"must be one of {quoted}", f'did you mean "{near[0]}"?' if near else "")
