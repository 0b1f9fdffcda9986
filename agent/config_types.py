"""The types of the configuration's values: what a duration, a budget's limit or a list of GPUs may look like.

A value stays as it is written, and is refused in our own words, with what would be right; seconds(), years(), amount()
and size_bytes() give what it means.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from agent.model import Quantity
from agent.units import AMOUNTS, label_name

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)", re.ASCII)
_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,15})?(?:e\+?\d{1,2})?) ?([A-Za-z]\w{0,15})", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_BUDGET_NAME = re.compile(r"\w[\w ./-]*")
_LIFETIME = re.compile(r"(\d{1,5}(?:\.\d{1,3})?)(y|d)", re.ASCII)
_SIZE = re.compile(r"(\d{1,9})(kB|MB|GB)", re.ASCII)
_BYTES = {"kB": 1000, "MB": 1_000_000, "GB": 1_000_000_000}
_GPU_UUID = re.compile(r"GPU-[0-9a-fA-F-]{8,40}|MIG-[0-9a-fA-F-]{8,40}|MIG-GPU-[0-9a-fA-F-]{8,40}/\d+/\d+", re.ASCII)
MAX_TEXT = 4096
MAX_NAME = 64
MAX_SELECTED = 64
MAX_LABEL = 200
MAX_GROUP_BY = 3

CUSTOM_QUANTITIES = (*(quantity.value for quantity in Quantity), "running", "waiting")


def fault(message: str, suggestion: str = "") -> PydanticCustomError:
    """A fault in our own words, which reaches the reader unchanged."""
    return PydanticCustomError("fault", "{message}", {"message": message, "suggestion": suggestion})


def seconds(text: str) -> float | None:
    """A duration's seconds ("250ms" is 0.25); None for a text that is no duration."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    # Divided, not multiplied by 0.001, so that "250ms" is 0.25 to the last bit.
    number, unit = float(match[1]), match[2]
    return number / 1000.0 if unit == "ms" else number * _SECONDS[unit]


def _duration(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        raise fault("must be a duration with its unit, as text", f'write "{value:g}s"')
    if not isinstance(value, str) or seconds(value) is None:
        raise fault("must be a duration with its unit", 'write "250ms", "5s", "1m", "1h" or "1d"')
    return value.strip()


@dataclass(frozen=True, slots=True)
class Amount:
    """A limit as the file writes it, in its base unit."""

    quantity: str  # energy | carbon | water | cost
    unit: str  # joules, gco2e, liters, or a currency's code
    value: float


def amount(text: str) -> Amount:
    """What "50 kWh", "20 kgCO2e", "100 L" or "25 EUR" says. Raises a fault for anything else."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise fault("must be an amount with its unit, as text", 'write "50 kWh", "20 kgCO2e", "100 L" or "25 EUR"')
    number, unit = float(match[1]), match[2]
    if not number > 0:
        raise fault("must be more than 0")
    if unit in AMOUNTS:
        quantity, base, factor = AMOUNTS[unit]
        return Amount(quantity, base, number * factor)
    near = [known for known in AMOUNTS if known.lower() == unit.lower()]
    near = near or difflib.get_close_matches(unit, AMOUNTS, n=1, cutoff=0.6)
    if not near and _CURRENCY.fullmatch(unit):
        return Amount("cost", unit, number)
    known = "one of " + ", ".join(AMOUNTS) + ", or a currency such as EUR"
    raise fault("has a unit that Joulecar does not know", f'did you mean "{near[0]}"?' if near else known)


def _limit(value: object) -> object:
    if isinstance(value, str) and value:
        amount(value)
    return value


def _budget_name(value: str) -> str:
    # It stands in the rules' text, too, where a brace or a quote would mean something.
    if value and not _BUDGET_NAME.fullmatch(value):
        raise fault("has letters, digits, spaces and . _ - / alone")
    return value


def _selector(value: object) -> object:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(entry, str) for entry in listed):
        raise fault("must be a name or a list of names", 'write "chat" or ["chat", "agents"]')
    if not listed:
        raise fault("is empty and selects nothing", "leave it out to select all")
    if len(listed) > MAX_SELECTED or any(len(entry) > MAX_LABEL for entry in listed):
        raise fault(f"has more than {MAX_SELECTED} names, or one of more than {MAX_LABEL} characters")
    if len(set(listed)) != len(listed):
        raise fault("names one twice")
    return value


def years(text: str) -> float | None:
    """The years of a lifetime ("4y", "1461d"); None for a text that is none. A year has 365.25 days."""
    match = _LIFETIME.fullmatch(text.strip())
    if match is None:
        return None
    return float(match[1]) if match[2] == "y" else float(match[1]) / 365.25


def size_bytes(text: str) -> int | None:
    """The bytes of a size ("4MB"); None for a text that is none."""
    match = _SIZE.fullmatch(text.strip())
    return int(match[1]) * _BYTES[match[2]] if match else None


def _size(value: object) -> object:
    if not isinstance(value, str) or size_bytes(value) is None:
        raise fault("must be a size with its unit, as text", 'write "500kB", "4MB" or "1GB"')
    return value.strip()


def _group_by(value: object) -> object:
    if not isinstance(value, list) or not all(isinstance(entry, str) and entry for entry in value):
        raise fault("must be a list of names of attributes", 'write group_by = ["tenant.id"]')
    if len(value) > MAX_GROUP_BY or any(len(entry) > MAX_NAME for entry in value):
        raise fault(f"has more than {MAX_GROUP_BY} names, or one of more than {MAX_NAME} characters")
    labels = [label_name(entry) for entry in value]
    if len(set(labels)) != len(labels) or {"engine", "model"} & set(labels):
        raise fault("has two names that become one label, or the label engine or model")
    return value


def _lifetime(value: object) -> object:
    if not isinstance(value, str) or years(value) is None:
        raise fault("must be a lifetime in years or days", 'write "4y" or "1500d"')
    return value.strip()


def _plain(value: str) -> str:
    if len(value) > MAX_TEXT:
        raise fault(f"is longer than {MAX_TEXT} characters")
    if not value.isprintable():
        raise fault("must be one line of printable text")
    return value.strip()


def _label(value: str) -> str:
    if len(value) > MAX_NAME:
        raise fault(f"is longer than {MAX_NAME} characters", "it becomes a label of every metric: keep it short")
    return value


def _gpus(value: object) -> object:
    if value in ("auto", "all"):
        return value
    if not isinstance(value, list):
        raise fault('must be "auto", "all" or a list of GPUs', 'write gpus = ["GPU-<uuid>"] or gpus = [0, 1]')
    for entry in value:
        if isinstance(entry, str) and not _GPU_UUID.fullmatch(entry):
            raise fault("a GPU is named by its UUID or its index", "nvidia-smi -L lists both")
        if isinstance(entry, bool) or not isinstance(entry, str | int) or (isinstance(entry, int) and entry < 0):
            raise fault("a GPU is named by its UUID, as text, or its index, 0 or more", "nvidia-smi -L lists both")
    if len(set(map(str, value))) != len(value):
        raise fault("names a GPU twice")
    return value


def _providers(value: object) -> object:
    if value == "auto":
        return value
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise fault('must be "auto" or a list of providers', 'write providers = ["table"]')
    if not value:
        raise fault("is empty", 'write "auto", or leave grid.zone out to have no grams')
    if len(set(value)) != len(value):
        raise fault("names a provider twice")
    return value


def _prefill_weight(value: object) -> object:
    if value == "auto":
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fault('must be "auto" or a number', "write prefill_weight = 0.12")
    if not 0 <= value <= 10:
        raise fault("must be between 0 and 10", "a computed prompt token weighs 0.04 to 0.25 of a generated one")
    return float(value)


def _custom(value: object) -> object:
    if not isinstance(value, dict):
        raise fault("must be a table of metric names", 'write custom = { generated = "my_tokens_total" }')
    for quantity, name in value.items():
        if quantity not in CUSTOM_QUANTITIES:
            raise fault(f"knows {', '.join(CUSTOM_QUANTITIES)}, and nothing else")
        if not isinstance(name, str):
            raise fault(f"{quantity} must be the name of a metric", f'write {quantity} = "my_engine_{quantity}_total"')
    return value


def _windows(value: object) -> object:
    if not isinstance(value, list) or not value or len(value) > 8:
        raise fault("must be a list of one to eight durations", 'write windows = ["1m", "5m", "1h"]')
    checked = [_duration(entry) for entry in value]
    if len({seconds(str(entry)) for entry in checked}) != len(checked):
        raise fault("names a window twice")
    return checked


Duration = Annotated[
    str, BeforeValidator(_duration), WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"})
]
Lifetime = Annotated[
    str, BeforeValidator(_lifetime), WithJsonSchema({"type": "string", "pattern": f"^{_LIFETIME.pattern}$"})
]
Text = Annotated[str, AfterValidator(_plain)]
Label = Annotated[Text, AfterValidator(_label)]
Size = Annotated[str, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": f"^{_SIZE.pattern}$"})]
Switch = Literal["auto", "on", "off"]
_LIST_OF_TEXT = {"type": "array", "items": {"type": "string"}}
GroupBy = Annotated[Any, PlainValidator(_group_by), WithJsonSchema({**_LIST_OF_TEXT, "maxItems": MAX_GROUP_BY})]
Gpus = Annotated[
    Any,
    PlainValidator(_gpus),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["auto", "all"]},
                {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}]}},
            ]
        }
    ),
]
Providers = Annotated[Any, PlainValidator(_providers), WithJsonSchema({"anyOf": [{"const": "auto"}, _LIST_OF_TEXT]})]
PrefillWeight = Annotated[
    Any,
    PlainValidator(_prefill_weight),
    WithJsonSchema({"anyOf": [{"const": "auto"}, {"type": "number", "minimum": 0, "maximum": 10}]}),
]
Custom = Annotated[
    Any,
    PlainValidator(_custom),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {quantity: {"type": "string"} for quantity in CUSTOM_QUANTITIES},
            "additionalProperties": False,
        }
    ),
]
Windows = Annotated[Any, PlainValidator(_windows), WithJsonSchema({**_LIST_OF_TEXT, "minItems": 1, "maxItems": 8})]


Over = Annotated[
    str,
    BeforeValidator(lambda value: value if value == "" else _duration(value)),
    WithJsonSchema({"type": "string", "pattern": f"^({_DURATION.pattern})?$"}),
]
Limit = Annotated[Text, AfterValidator(_limit)]
BudgetName = Annotated[Label, AfterValidator(_budget_name)]
Selector = Annotated[
    Any, PlainValidator(_selector), WithJsonSchema({"anyOf": [{"type": "string"}, {**_LIST_OF_TEXT, "minItems": 1}]})
]
