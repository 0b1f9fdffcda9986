"""The configuration as plain frozen values: what config.py makes of the TOML, and all that the agent sees of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret's value and where it came from. Its repr and str never show the value."""

    value: str = field(repr=False)
    origin: str = ""  # "env VLLM_TOKEN", "file /run/secrets/token"

    def __str__(self) -> str:
        return f"<secret from {self.origin}>"


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """How `run --record` writes: at most `keep` files of about max_bytes, model names and groups redacted or not."""

    max_bytes: int = 1_000_000_000
    keep: int = 3
    redact: bool = False


@dataclass(frozen=True, slots=True)
class AgentSettings:
    interval_s: float = 1.0
    window_s: float = 5.0
    state_dir: Path | None = None  # None: nothing on disk
    log_level: str = "info"
    record: RecordSettings = RecordSettings()


@dataclass(frozen=True, slots=True)
class ServerSettings:
    host: str = "127.0.0.1"
    port: int = 9420
    tls_cert: Path | None = None
    tls_key: Path | None = None
    basic_auth_user: str = ""  # "": no authentication
    basic_auth_password: Secret | None = None
    max_connections: int = 32
    section: str = "server"  # of the configuration: what an error names


@dataclass(frozen=True, slots=True)
class SourcesSettings:
    sysfs: Path = Path("/sys")
    nvml: str = "auto"  # auto | on | off; on: its absence makes `check` and readiness fail
    rapl: str = "auto"
    host: str = "auto"
    cpu_tdp_w: float | None = None  # overrides the table for the estimate


@dataclass(frozen=True, slots=True)
class EngineSettings:
    name: str
    url: str
    kind: str = "auto"
    gpus: tuple[str | int, ...] | None = None  # UUIDs or indices; None: every GPU
    find_gpus: bool = False  # where its processes are seen on some GPUs, it is on these alone
    model: str = ""  # the model's name where the page has no model label
    token: Secret | None = None
    tls_ca: Path | None = None
    tls_verify: bool = True
    timeout_s: float = 4.0
    every_s: float = 5.0
    custom: Mapping[str, str] = field(default_factory=dict)  # quantity -> metric name, for kind "custom"
    span_service: str = ""  # service.name of its spans; "": its own name


@dataclass(frozen=True, slots=True)
class AttributionSettings:
    prefill_weight: float | None = None  # None: "auto", learned from the counters
    node: str = "shared"  # shared: cpu, dram and host joules go to engines by their GPU work | unassigned
    max_pending_s: float = 60.0
    foreign: str = "auto"  # auto: strangers are looked for on a GPU of one engine, too | off


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Where request spans are received, and where they are passed on to."""

    server: ServerSettings
    max_body: int = 4_000_000  # bytes, decompressed
    memory_s: float = 900.0  # the longest request
    forward_to: str = ""  # "": nowhere
    forward_token: Secret | None = None
    group_by: tuple[str, ...] = ()
    max_groups: int = 100


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One provider's own table, [grid.NAME]. base_url "": the provider's own address."""

    base_url: str = ""
    timeout_s: float = 10.0
    token: Secret | None = None  # API key, where the provider asks for one
    user: str = ""
    password: Secret | None = None
    region: str = ""  # the provider's own name of the zone, where it cannot be told from grid.zone
    path: Path | None = None  # of a file that an operator drops in


METADATA_ADDRESS = "http://169.254.169.254"  # every cloud's; link-local, so it never leaves the machine's network


@dataclass(frozen=True, slots=True)
class GridSettings:
    zone: str | None = None  # as the user wrote it, or as it was found; None: not known (yet)
    providers: tuple[str, ...] = ()  # (): auto
    fixed_g_per_kwh: float | None = None
    tables: Mapping[str, ProviderSettings] = field(default_factory=dict)  # by provider, those that are configured
    found: str = "unknown"  # how the zone is known: see agent.model.Located
    found_detail: str = ""  # for people: which variable, which label; without a zone, what was seen and not believed
    metadata_url: str = METADATA_ADDRESS  # where the cloud is asked for its region, if no zone is known; "": nowhere
    geoip_url: str = ""  # who is asked for the country of our address after that; "": nobody


@dataclass(frozen=True, slots=True)
class PriceSettings:
    """Where the price of a kilowatt-hour comes from."""

    provider: str  # fixed, or a day-ahead source of agent/prices/table.py
    currency: str
    per_kwh: float | None = None  # fixed: all that a kilowatt-hour costs
    zone: str = ""  # day-ahead: the provider's name of the price zone
    add_per_kwh: float = 0.0  # day-ahead: grid fees and taxes on top of the market's price
    vat: float = 0.0  # day-ahead: a share of all that, 0.19 for 19%
    base_url: str = ""  # "": the provider's own address
    timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class EmbodiedSettings:
    """M = TE * TiR/EL * RR/ToR of the SCI: what making the hardware emitted, spread over its life."""

    lifetime_s: float  # EL
    gpu_kgco2e: float | None = None  # TE of one GPU; None: by its model, where a figure is known
    server_kgco2e: float | None = None  # TE of the server without its GPUs; None: by how many GPUs it has
    reserved_share: float = 1.0  # RR/ToR


@dataclass(frozen=True, slots=True)
class SiteSettings:
    pue: float = 1.0
    node_overhead_w: float = 0.0
    grid_loss: float = 1.0  # energy fed into the grid for each that is delivered
    market_g_per_kwh: float | None = None  # of the contract or the residual mix; None: no such account
    wue_l_per_kwh: float | None = None
    price: PriceSettings | None = None  # None: no energy has a cost
    embodied: EmbodiedSettings | None = None  # None: off


@dataclass(frozen=True, slots=True)
class BudgetSettings:
    """One [[budget]]: how much of what may be used in which period, and whose use counts."""

    name: str
    quantity: str  # energy | carbon | water | cost
    limit: float  # in `unit`
    unit: str  # joules | gco2e | liters | the currency's code: the base unit, and the label of its metrics
    period: str = "month"  # day | week | month | rolling
    over_s: float = 0.0  # the length of a rolling period
    engines: tuple[str, ...] = ()  # (): every engine's use, and nobody's
    models: tuple[str, ...] = ()
    timezone: str = "UTC"  # IANA name; where days, weeks and months begin
    boundary: str = "it"  # of an energy budget: it | facility
    scope: str = "operational"  # of a carbon budget: operational | total, which has the embodied grams as well


@dataclass(frozen=True, slots=True)
class HeadlineSettings:
    windows: tuple[tuple[str, float], ...] = (("1m", 60.0), ("5m", 300.0), ("1h", 3600.0))  # label, seconds


@dataclass(frozen=True, slots=True)
class Settings:
    agent: AgentSettings = AgentSettings()
    server: ServerSettings = ServerSettings()
    sources: SourcesSettings = SourcesSettings()
    engines: tuple[EngineSettings, ...] = ()
    attribution: AttributionSettings = AttributionSettings()
    grid: GridSettings = GridSettings()
    site: SiteSettings = SiteSettings()
    budgets: tuple[BudgetSettings, ...] = ()
    headline: HeadlineSettings = HeadlineSettings()
    otlp: OtlpSettings | None = None  # None: no spans are received
