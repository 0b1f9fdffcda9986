"""The configuration file's shape, declared once: keys, types, defaults and what each of them does.

The checker, the commented default file and the JSON schema are all made from these models. Values stay as they are
written (a duration is still the text "5s"); config_rules.py turns them into agent.settings.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
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
_GPU_UUID = re.compile(r"GPU-[0-9a-fA-F-]{8,40}", re.ASCII)
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


class Section(BaseModel):
    """One table of the file. Types are taken as written: "9420" is no number, 1 is no text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Agent(Section):
    """The measuring loop."""

    interval: Duration = Field("1s", description="How often the hardware is read; at least 100ms.")
    window: Duration = Field("5s", description="How often energy is booked to engines; at least one interval.")
    state_dir: Text = Field(
        "",
        description="A writable directory for the books: totals, budgets and the history of a live carbon source "
        'outlive a restart. "": nothing on disk, totals begin anew with each start.',
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error; logs go to stderr."
    )
    record_max: Size = Field("1GB", description="How large a file of `run --record` grows before the next is begun.")
    record_keep: int = Field(
        3,
        ge=1,
        le=1000,
        description="How many of these files are kept: day.jsonl, the older day.1.jsonl, day.2.jsonl ...",
    )
    record_redact: bool = Field(
        False, description="Whether model names, adapters and groups are recorded as model-1, model-2 ... instead."
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
    span_service: Label = Field("", description="service.name in its request spans, for [otlp]; unset: its name.")
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


class Otlp(Server):
    """Request spans, from which the energy of single requests is told. Received over OTLP/HTTP."""

    listen: Text = Field(
        "",
        description='Address and port, "127.0.0.1:4318" say; traces are posted to /v1/traces. "": none are received. '
        "Protobuf needs the extra `otlp`; JSON does not.",
        examples=["127.0.0.1:4318"],
    )
    max_body: Size = Field("4MB", description="The largest export, decompressed; at most 64MB.")
    window_memory: Duration = Field("15m", description="The longest request; spans that come later get an average.")
    forward_to: Text = Field(
        "",
        description="Where every trace is passed on to, with the joules of its requests: your collector's address, as "
        '"http://127.0.0.1:4319". "": nowhere.',
        examples=["http://127.0.0.1:4319"],
    )
    forward_token_env: Text = Field("", description="Environment variable that holds the collector's bearer token.")
    forward_token_file: Text = Field("", description="File that holds the collector's bearer token.")
    group_by: GroupBy = Field(
        [],
        description="Attributes of spans by which energy is summed, three at most: tenant, route, conversation.",
        examples=[["tenant.id"]],
    )
    max_groups: int = Field(100, ge=1, le=1000, description="Groups with a series of their own; others are `_other`.")


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
        description="Country, state, province or cloud region: FR, France, US-CA, CA-QC, eu-west-3. auto takes "
        "JOULECAR_ZONE, the region in the environment (AWS_REGION, GOOGLE_CLOUD_REGION, AZURE_REGION, CLOUD_REGION), "
        "that of the pod's labels, or the cloud's metadata. Without a zone or a fixed factor there are no grams.",
        examples=["FR"],
    )
    providers: Providers = Field(
        "auto",
        description="Where the intensity comes from: a list, of which the first live source is asked and fixed or "
        'table stand in while nothing is known from it; or "auto": the live source whose key is configured, else the '
        'free one of the zone, else the table, and nobody with a factor of your own. ["table"] asks nobody.',
    )
    fixed_g_per_kwh: float | None = Field(
        None,
        ge=0,
        le=3000,
        description="A carbon intensity of your own in gCO2e per kWh; it takes the place of the table.",
        examples=[310.0],
    )
    pod_labels: Text = Field(
        "/etc/podinfo/labels",
        description="The pod's labels, as the downward API mounts them; JOULECAR_POD_REGION may hold the region alone.",
    )
    metadata: Literal["auto", "off"] = Field(
        "auto",
        description="Whether AWS, Google Cloud and Azure are asked for the region at 169.254.169.254, for a second at "
        "most, if no zone is known otherwise. JOULECAR_METADATA=off switches it off, too.",
    )
    geoip: bool = Field(
        False,
        description="Whether geoip_url is asked, after all that, for the country of this machine's address. It tells "
        "a stranger the address, and finds the country of a VPN's end.",
    )
    geoip_url: Text = Field("", description="Who answers with a country of two letters, as text or JSON.")


class Price(Section):
    """What a kilowatt-hour costs. Without a provider no energy has a cost, and nobody is asked."""

    provider: Text = Field("", description='Where the price comes from; "": nowhere.')
    per_kwh: float | None = Field(
        None, gt=-100_000, lt=100_000, description="For fixed: all that a kWh costs.", examples=[0.25]
    )
    currency: Text = Field(
        "", description="For fixed: its currency, a label. Day-ahead: EUR, with energinet also DKK.", examples=["EUR"]
    )
    zone: Text = Field("", description="Day-ahead: the price zone, such as DE-LU or DK1.", examples=["DE-LU"])
    add_per_kwh: float = Field(
        0.0,
        gt=-100_000,
        lt=100_000,
        description="Day-ahead: grid fees, taxes and the supplier's margin, on top of the market's price.",
    )
    vat: float = Field(0.0, ge=0, le=1, description="Day-ahead: value added tax on all that, 0.19 for 19%.")
    base_url: Text = Field("", description="Day-ahead: another address of its interface, a proxy of yours.")
    timeout: Duration = Field("10s", description="Day-ahead: how long one answer may take.")


class Embodied(Section):
    """What making the hardware emitted, spread over its life: M = TE * TiR/EL * RR/ToR of the SCI."""

    enabled: bool = Field(False, description="Whether it is counted.")
    lifetime: Lifetime = Field("4y", description='The life that is expected of the hardware: "4y", or "1500d".')
    gpu_kgco2e: float | None = Field(
        None,
        ge=0,
        le=100_000,
        description="kgCO2e of making one GPU; unset: the published figure of its model.",
        examples=[164.0],
    )
    server_kgco2e: float | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="kgCO2e of making the server without its GPUs; unset: 5700 with five or more GPUs, 2500 with "
        "fewer, not known without any.",
        examples=[2500.0],
    )
    reserved_share: float = Field(
        1.0, gt=0, le=1, description="The share of the machine that is yours: RR/ToR, 0.25 for a quarter of it."
    )


class Site(Section):
    """What the building adds."""

    pue: float = Field(1.0, ge=1, le=10, description="Facility energy per IT energy; multiplies grams, never joules.")
    node_overhead_w: float = Field(
        0.0, ge=0, le=100_000, description="Watts that no counter sees: fans, power supplies, network cards."
    )
    grid_loss: float = Field(
        1.0,
        ge=1,
        le=2,
        description="Energy fed into the grid for each that is delivered, 1.05 for 5% lost on the way; multiplies "
        "grams, never joules. NESO's intensities include the losses already.",
    )
    market_g_per_kwh: float | None = Field(
        None,
        ge=0,
        le=3000,
        description="gCO2e per kWh of your contract or of the residual mix: the market-based account, a series of its "
        "own beside the location-based one.",
        examples=[45.0],
    )
    wue_l_per_kwh: float | None = Field(
        None, ge=0, le=100, description="Litres of water per kWh of IT energy, as the site uses it.", examples=[1.8]
    )
    price: Price = Field(Price(), description="What a kilowatt-hour costs.")
    embodied: Embodied = Field(Embodied(), description="What making the hardware emitted.")


class Budget(Section):
    """How much may be used in a period; the table is written once for each budget. It limits nothing: it is watched."""

    name: BudgetName = Field("", description="The budget's label on its metrics and alerts.", examples=["chat-energy"])
    limit: Limit = Field(
        "",
        description="An amount with its unit: energy in J, kJ, MJ, GJ, Wh, kWh, MWh or GWh; carbon in gCO2e, kgCO2e or "
        "tCO2e; water in L or m3; money in the currency of the energy price, EUR say.",
        examples=["50 kWh"],
    )
    period: Literal["day", "week", "month", "rolling"] = Field(
        "month", description="day, week (from Monday) or month, from midnight in its time zone; or rolling."
    )
    over: Over = Field("", description="The length of a rolling period, 1h to 92d.", examples=["30d"])
    engine: Selector = Field(
        "", description="Whose use counts: an engine's name, or a list; \"\": everybody's, nobody's joules included."
    )
    model: Selector = Field("", description='A model\'s name, or a list; "": every model. No pattern: names are exact.')
    timezone: Text = Field("UTC", description='Where days, weeks and months begin: an IANA name, "Europe/Paris".')
    boundary: Literal["it", "facility"] = Field(
        "it",
        description="Which joules an energy budget counts: it, the metered ones; or facility, overhead and PUE too.",
    )
    scope: Literal["operational", "total"] = Field(
        "operational", description="Which grams a carbon budget counts: operational, or total with the embodied ones."
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
    otlp: Otlp = Otlp()
    grid: Grid = Grid()
    site: Site = Site()
    budget: list[Budget] = Field([], description="What may be used in a period.")
    headline: Headline = Headline()
