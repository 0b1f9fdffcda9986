"""The configuration file's shape, declared once: keys, types, defaults and what each of them does.

The checker, the commented default file and the JSON schema are all made from these models. Values stay as they are
written (a duration is still the text "5s"); config_rules.py turns them into agent.settings.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.config_types import (
    CUSTOM_QUANTITIES,
    BudgetName,
    Custom,
    Duration,
    Gpus,
    GroupBy,
    Label,
    Lifetime,
    Limit,
    Over,
    PrefillWeight,
    Providers,
    Selector,
    Size,
    Switch,
    Text,
    Windows,
)


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
    gpus: Gpus = Field(
        "auto",
        description='Its GPUs: a list of UUIDs, also of MIG instances, or indices; "all"; [] if it uses none. "auto": '
        "those that its processes hold memory of, and all while none is seen.",
    )
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
        description='Energy of a computed prompt token over that of a generated one; "auto" learns it, from 0.12 on.',
    )
    node: Literal["shared", "unassigned"] = Field(
        "shared",
        description="CPU, memory and host energy: shared among the engines by their GPU work, or nobody's.",
    )
    foreign: Literal["auto", "off"] = Field(
        "auto",
        description="Whether the driver is asked for other processes on a GPU of one engine; their part is foreign.",
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
        description="Attributes by which energy is summed, three at most, as any span of a request's trace names them.",
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
