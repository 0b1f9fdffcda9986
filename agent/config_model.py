"""The configuration file's shape, declared once: keys, types, defaults and what each of them does.

The checker, the commented default file and the JSON schema are all made from these models. Values stay as they are
written (a duration is still the text "5s"); config_rules.py turns them into agent.settings.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from agent.model import Quantity

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)", re.ASCII)
_GPU_UUID = re.compile(r"GPU-[0-9a-fA-F-]{8,40}", re.ASCII)
MAX_TEXT = 4096
MAX_NAME = 64

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
    if value == "all":
        return value
    if not isinstance(value, list):
        raise fault('must be "all" or a list of GPUs', 'write gpus = ["GPU-<uuid>"] or gpus = [0, 1]')
    for entry in value:
        if isinstance(entry, str) and entry.startswith("MIG-"):
            raise fault("a MIG instance has no energy counter of its own", "name the GPU that it is part of")
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
Text = Annotated[str, AfterValidator(_plain)]
Label = Annotated[Text, AfterValidator(_label)]
Switch = Literal["auto", "on", "off"]
_LIST_OF_TEXT = {"type": "array", "items": {"type": "string"}}
Gpus = Annotated[
    Any,
    PlainValidator(_gpus),
    WithJsonSchema(
        {
            "anyOf": [
                {"const": "all"},
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


class Section(BaseModel):
    """One table of the file. Types are taken as written: "9420" is no number, 1 is no text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Agent(Section):
    """The measuring loop."""

    interval: Duration = Field("1s", description="How often the hardware is read; at least 100ms.")
    window: Duration = Field("5s", description="How often energy is booked to engines; at least one interval.")
    state_dir: Text = Field(
        "",
        description="A writable directory. It keeps the history of a live carbon source, so that an outage may span "
        'a restart; totals begin anew with each start. "": nothing on disk.',
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error; logs go to stderr."
    )


class Server(Section):
    """The page that Prometheus scrapes."""

    listen: Text = Field(
        "127.0.0.1:9420", description='Address and port; "0.0.0.0:9420" is every IPv4 address, "[::]:9420" IPv6.'
    )
    tls_cert: Text = Field("", description="Certificate chain (PEM file); with tls_key, the page is served by HTTPS.")
    tls_key: Text = Field("", description="Private key of the certificate (PEM file).")
    basic_auth_user: Text = Field("", description='User that a scraper must give; "" asks for none.')
    basic_auth_password_env: Text = Field("", description="Environment variable that holds the user's password.")
    basic_auth_password_file: Text = Field("", description="File that holds the user's password.")
    max_connections: int = Field(32, ge=1, le=1024, description="Connections served at a time; more are refused.")


class Sources(Section):
    """What is measured. auto: used where it is there; on: its absence is a fault; off: never touched."""

    sysfs: Text = Field("/sys", description="Where sysfs is mounted; in a container, where the host's is mounted.")
    nvml: Switch = Field("auto", description="NVIDIA GPUs, through the driver's library: auto, on or off.")
    rapl: Switch = Field("auto", description="CPU and memory energy counters (powercap): auto, on or off.")
    host: Switch = Field("auto", description="Estimate of CPU and memory from load, where RAPL cannot be read.")
    cpu_tdp_w: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="The CPU's design power in watts, all sockets, for that estimate; unset: by its name.",
        examples=[350.0],
    )


class Engine(Section):
    """One inference server; the table is written once for each."""

    name: Label = Field(
        "", description="The engine's label on every metric; unset: host:port of the URL.", examples=["vllm-a"]
    )
    url: Text = Field(
        "", description="The server's address, or that of its metrics page.", examples=["http://127.0.0.1:8000"]
    )
    kind: Text = Field(
        "auto", description='What it is; "auto" recognises it from its page. `joulecar check` lists the kinds.'
    )
    gpus: Gpus = Field("all", description='Its GPUs: "all", or a list of UUIDs or indices; [] if it uses none.')
    model: Label = Field("", description="The model's name, where the page does not say it.")
    token_env: Text = Field("", description="Environment variable that holds the bearer token for the page.")
    token_file: Text = Field("", description="File that holds the bearer token for the page.")
    tls_ca: Text = Field("", description="Certificates to trust for https (PEM file); unset: the system's.")
    tls_verify: bool = Field(True, description="Whether to check the server's certificate.")
    timeout: Duration = Field("4s", description="How long one scrape may take.")
    every: Duration = Field("5s", description="How often the page is scraped; the engine pays for it, too.")
    custom: Custom = Field(
        {},
        description='For kind = "custom": the name of the metric of each quantity ('
        + ", ".join(CUSTOM_QUANTITIES)
        + ").",
        examples=[{"generated": "my_engine_generated_tokens_total"}],
    )


class Attribution(Section):
    """How energy is split."""

    prefill_weight: PrefillWeight = Field(
        "auto",
        description='Energy of a computed prompt token relative to a generated one; "auto" is 0.12, the prior.',
    )
    node: Literal["shared", "unassigned"] = Field(
        "shared",
        description="CPU, memory and host energy: shared among the engines by their GPU work, or nobody's.",
    )
    max_pending: Duration = Field(
        "60s", description="How long energy waits for tokens that an engine books late; at least one window."
    )


class Provider(Section):
    """One live source of carbon intensity. Each takes some of these keys; the others are refused."""

    base_url: Text = Field("", description="Another address of its interface: a proxy or a mirror of yours.")
    timeout: Duration = Field("10s", description="How long one answer may take.")
    region: Text = Field("", description="The provider's own name of the zone, if it cannot be told from grid.zone.")
    token_env: Text = Field("", description="Environment variable that holds the key.")
    token_file: Text = Field("", description="File that holds the key.")
    user: Text = Field("", description="User name.")
    password_env: Text = Field("", description="Environment variable that holds the password.")
    password_file: Text = Field("", description="File that holds the password.")
    path: Text = Field("", description="The file to read.")


class Grid(Section):
    """Where the electricity comes from."""

    zone: Text = Field(
        "auto",
        description="Country, state, province or cloud region: FR, France, US-CA, CA-QC, eu-west-3. "
        "auto finds none in this version: without a zone or a fixed factor there are no grams.",
        examples=["FR"],
    )
    providers: Providers = Field(
        "auto",
        description='Where the intensity comes from: "auto" (fixed or table), or a list. Its first live source is '
        "asked; fixed or table stand in while nothing is known from it.",
    )
    fixed_g_per_kwh: float | None = Field(
        None,
        ge=0,
        le=3000,
        description="A carbon intensity of your own in gCO2e per kWh; it takes the place of the table.",
        examples=[310.0],
    )


class Site(Section):
    """What the building adds."""

    pue: float = Field(1.0, ge=1, le=10, description="Facility energy per IT energy; multiplies grams, never joules.")
    node_overhead_w: float = Field(
        0.0, ge=0, le=100_000, description="Watts that no counter sees: fans, power supplies, network cards."
    )


class Headline(Section):
    """The ratios: tokens per joule, joules per request, grams per 1,000 tokens."""

    windows: Windows = Field(["1m", "5m", "1h"], description="The times they are taken over, one to eight.")


class Config(Section):
    """Joulecar's configuration file."""

    model_config = ConfigDict(defer_build=True)  # the tables are checked one by one; the whole is for the schema

    agent: Agent = Agent()
    server: Server = Server()
    sources: Sources = Sources()
    engine: list[Engine] = Field([], description="The inference servers.")
    attribution: Attribution = Attribution()
    grid: Grid = Grid()
    site: Site = Site()
    headline: Headline = Headline()
