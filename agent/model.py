"""The values that flow from the counters to the exporters: frozen, with the unit in the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class DeviceKind(StrEnum):
    """What kind of hardware a joule was counted on."""

    GPU = "gpu"
    CPU = "cpu"
    DRAM = "dram"
    HOST = "host"


class Method(StrEnum):
    """How an energy is known."""

    COUNTER = "counter"  # the hardware's own energy counter
    INTEGRATED = "integrated"  # trapezoid over measured power
    ESTIMATED = "estimated"  # a model of the hardware, not a measurement


class Use(StrEnum):
    """What a joule was spent on."""

    PREFILL = "prefill"
    DECODE = "decode"
    IDLE = "idle"  # an engine is loaded and nothing runs
    FOREIGN = "foreign"  # another process's share of a shared GPU
    UNASSIGNED = "unassigned"  # no engine on that device
    UNATTRIBUTED = "unattributed"  # the engine cannot be read, or its tokens never came


class TokenType(StrEnum):
    PROMPT_COMPUTED = "prompt_computed"
    PROMPT_CACHED = "prompt_cached"
    GENERATED = "generated"


class Quantity(StrEnum):
    """What an engine's counter counts. PROMPT is all prompt tokens, computed and cached together."""

    PROMPT = "prompt"
    PROMPT_COMPUTED = "prompt_computed"
    PROMPT_CACHED = "prompt_cached"
    GENERATED = "generated"
    REQUESTS = "requests"
    STEPS = "steps"  # of the engine, with any number of sequences in each
    FIRST_TOKENS = "first_tokens"  # requests whose prompt is done
    INFERENCE_S = "inference_s"  # seconds that requests were worked on, without their queueing, of each request


class Part(StrEnum):
    """A part of the agent that may fail while the rest goes on."""

    SOURCE = "source"
    ENGINE = "engine"
    GRID = "grid"
    LEDGER = "ledger"
    OTLP = "otlp"


@dataclass(frozen=True, slots=True, order=True)
class Instant:
    """One moment: mono_s for durations, wall_s (UTC, Unix) for labels and storage."""

    mono_s: float
    wall_s: float

    def plus(self, seconds: float) -> Instant:
        return Instant(self.mono_s + seconds, self.wall_s + seconds)


@dataclass(frozen=True, slots=True, order=True)
class Device:
    """A metered device. key is stable (GPU UUID, package-0), never an index."""

    kind: DeviceKind
    key: str


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """A process on a GPU and the share of the streaming multiprocessors it used, 0..1."""

    pid: int
    sm: float


@dataclass(frozen=True, slots=True)
class Instance:
    """A MIG instance of a GPU. It has no energy counter of its own."""

    uuid: str
    memory_bytes: float
    sms: float = 0.0  # streaming multiprocessors that active is a share of; 0: not told
    active: float | None = None  # share of them that was busy since it was last asked, 0..1; None: not told
    residents: tuple[int, ...] | None = None  # processes that hold its memory; None: not asked


@dataclass(frozen=True, slots=True)
class Reading:
    """What one device said at one moment. What it did not say is None; error says why nothing came."""

    device: Device
    at: Instant
    energy_j: float | None = None  # a counter that only its own reset or wrap sets back
    wraps_at_j: float | None = None  # the counter's range, where it wraps at a known one
    power_w: float | None = None
    max_power_w: float | None = None  # the limit that the hardware enforces: the gate for energy_j
    estimated: bool = False  # energy_j and power_w come from a model, not from a sensor
    name: str = ""
    index: int | None = None  # as the driver numbers it now; a label, not an identity
    processes: tuple[ProcessUse, ...] | None = None
    error: str | None = None
    instances: tuple[Instance, ...] = ()  # those of its MIG instances that may be seen
    residents: tuple[int, ...] | None = None  # processes that hold memory of a GPU, busy or not; None: not asked now


@dataclass(frozen=True, slots=True)
class IntervalEnergy:
    """Energy that one device used between two moments. The only value that a joule is ever booked from."""

    device: Device
    start: Instant
    end: Instant
    energy_j: float
    method: Method


@dataclass(frozen=True, slots=True)
class Gap:
    """A time for which a device's energy is not known, and why."""

    device: Device
    start: Instant
    end: Instant
    reason: str


@dataclass(frozen=True, slots=True, order=True)
class SeriesKey:
    """One counter series of an engine's page. series is its label text, so that ranks and workers stay apart."""

    quantity: Quantity
    model: str
    series: str = ""
    outcome: str = ""  # for REQUESTS: stop, length, abort, success, failure ...
    process: str = ""  # which of the engine's processes counts it, where the page carries several


@dataclass(frozen=True, slots=True)
class EngineSample:
    """One good scrape of an engine: counters as they stand, absent ones left out (absent is not 0)."""

    engine: str
    at: Instant
    kind: str  # vllm, sglang, llamacpp ...
    counters: Mapping[SeriesKey, float]
    running: Mapping[str, float]  # model -> requests running now; a model is left out if the page does not say
    waiting: Mapping[str, float]
    process_start_s: float | None = None  # Unix time at which the engine's process began, where the page says
    version: str = ""
    missing: tuple[str, ...] = ()  # series that attribution needs and the page lacks, by name
    page: str | None = field(default=None, compare=False, repr=False)  # kept only for --record


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """A scrape that gave no numbers. not_serving: nothing answered there, or it is still loading, so that
    counters which appear next began at 0."""

    engine: str
    at: Instant
    reason: str
    not_serving: bool = False


@dataclass(frozen=True, slots=True)
class ModelWork:
    """What an engine did for one model in an interval; None where the engine does not say."""

    prompt_computed: float | None = None
    prompt_cached: float | None = None
    generated: float | None = None
    requests: Mapping[str, float] = field(default_factory=dict)  # by outcome
    steps: float | None = None
    first_tokens: float | None = None
    inference_s: float | None = None  # of all requests that ended, each by itself


@dataclass(frozen=True, slots=True)
class Work:
    """What an engine did between two samples."""

    engine: str
    start: Instant
    end: Instant
    models: Mapping[str, ModelWork]
    running_start: float | None  # requests running at both ends, all models; None: the page does not say
    running_end: float | None
    restarted: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """A piece of a device kind's energy and what it was for."""

    kind: DeviceKind
    use: Use
    engine: str
    model: str
    energy_j: float


@dataclass(frozen=True, slots=True)
class Entry:
    """What was booked to one owner in one piece of time: the joules, and all that follows from them.

    The books' totals and the roll-ups on disk are both sums of these. None: nothing is known to price it with.
    """

    bucket_s: float  # Unix seconds, the beginning of the roll-up's piece of time that it belongs to
    engine: str
    model: str
    use: Use
    zone: str = ""  # of the intensity that priced it; "": none did
    kind: str = ""  # of that intensity, the worst where several did
    energy_j: float = 0.0
    overhead_j: float = 0.0
    facility_j: float = 0.0  # (energy + overhead) * PUE * grid loss: what intensities multiply
    it_gco2e: float | None = None
    gco2e: float | None = None
    market_gco2e: float | None = None
    marginal_gco2e: float | None = None
    embodied_gco2e: float | None = None
    water_l: float | None = None
    cost: float | None = None
    credit: float | None = None
    unpriced_j: float = 0.0
    uncosted_j: float = 0.0


@dataclass(frozen=True, slots=True)
class Located:
    """The grid zone of this machine and how it was found."""

    zone: str = ""  # "": not found
    found: str = "unknown"  # config | env | pod_label | aws | gcp | azure | geoip | unknown
    detail: str = ""  # for people: which variable, which region


Spent = tuple[float, float, float]  # from and to (Unix seconds), and the joules that flowed evenly between


@dataclass(frozen=True, slots=True)
class Posting:
    """Shares booked together for one interval."""

    start: Instant
    end: Instant
    shares: tuple[Share, ...]
    spent: tuple[Spent, ...] = ()  # when the joules of these shares flowed, where that is known more closely


class RequestOutcome(StrEnum):
    """What became of a request's span."""

    ATTRIBUTED = "attributed"  # its joules are known
    SCALED_DOWN = "scaled_down"  # attributed, but it claims more tokens than the engine's counters leave for it
    AVERAGE = "average"  # it came too late, or began before the agent: the model's average for each token
    NO_ENERGY = "no_energy"  # of its time no joule of that engine and model is known
    DUPLICATE = "duplicate"
    GATEWAY = "gateway"  # a gateway's or a client's span of an engine that sends its own
    NO_TOKENS = "no_tokens"
    BAD_TIMES = "bad_times"  # negative, not finite, or longer than the longest request
    BAD_TOKENS = "bad_tokens"  # negative, not finite, more than any engine does, or more cached than there are
    IN_THE_FUTURE = "in_the_future"  # by more than a clock may be ahead
    UNKNOWN_ENGINE = "unknown_engine"
    UNKNOWN_MODEL = "unknown_model"
    DROPPED = "dropped"  # more wait than may


class RequestMethod(StrEnum):
    """How a request's energy is known."""

    WINDOWS = "windows"  # its tokens over the engine's, in each window
    COARSE = "coarse"  # likewise, of a span that does not tell the times of the phases, or all tokens
    AVERAGE = "average"  # its tokens at the model's average energy of a token


SpanGroup = tuple[tuple[str, str], ...]  # attribute and value, in the order of the configuration


@dataclass(frozen=True, slots=True)
class RequestSpan:
    """One request as a span tells it: times in Unix seconds. None: the span does not say."""

    engine: str  # "": not known; found by the model
    start_s: float
    end_s: float
    model: str = ""
    request_id: str = ""
    trace_id: str = ""
    span_id: str = ""
    queue_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    prompt_tokens: float | None = None  # cached ones included
    cached_tokens: float | None = None
    generated_tokens: float | None = None
    group: SpanGroup = ()
    own: bool = True  # the engine's own span, not that of a gateway or a client
    is_request: bool = True  # False: it only says whom its trace was for


@dataclass(frozen=True, slots=True)
class RequestEnergy:
    """What one request cost. low_j and high_j: agent/request_figures.py states these bounds; an average has none."""

    engine: str
    model: str
    request_id: str
    trace_id: str
    span_id: str
    start_s: float
    end_s: float
    energy_j: float
    prefill_j: float
    decode_j: float
    gco2e: float | None
    method: RequestMethod
    low_j: float | None = None
    high_j: float | None = None
    group: SpanGroup = ()


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation of a bucket, with the trace that it stands for."""

    trace_id: str
    value: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations by bucket, not cumulative: counts[i] are those above bounds[i - 1] and up to bounds[i]; the last
    ones are above all bounds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float = 0.0
    exemplars: tuple[Exemplar | None, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestTotals:
    """What was found of requests since the start."""

    spans: Mapping[tuple[str, RequestOutcome], int] = field(default_factory=dict)  # engine "": none was found
    energy: Mapping[tuple[str, str], Histogram] = field(default_factory=dict)  # engine, model: joules
    emissions: Mapping[tuple[str, str], Histogram] = field(default_factory=dict)  # gCO2e
    group_by: tuple[str, ...] = ()
    groups: Mapping[tuple[str, str, tuple[str, ...]], float] = field(default_factory=dict)  # joules
    clock_shift_s: Mapping[str, float] = field(default_factory=dict)  # by engine: see Clocks.shifts_s
    groups_gco2e: Mapping[tuple[str, str, tuple[str, ...]], float] = field(default_factory=dict)  # of known grams alone


@dataclass(frozen=True, slots=True)
class GridIntensity:
    """Carbon intensity of a zone over [valid_from_s, valid_to_s), Unix seconds, with all that names it."""

    zone: str
    g_per_kwh: float
    provider: str
    signal: str = "average"  # average | marginal
    basis: str = "lifecycle"  # lifecycle | direct
    kind: str = "actual"  # fixed, or a rung of agent/grids/history.py: actual ... yearly
    valid_from_s: float = float("-inf")
    valid_to_s: float = float("inf")
    fetched_at_s: float | None = None  # None: not fetched, a constant
    source: str = ""  # for people: the dataset, its year, its licence


@dataclass(frozen=True, slots=True)
class EnergyPrice:
    """What a kilowatt-hour costs in a price zone over [valid_from_s, valid_to_s), Unix seconds. Below 0 it is paid
    for being used."""

    zone: str
    per_kwh: float  # in currency, all that the configuration adds to it included
    currency: str  # ISO 4217, or as the operator wrote it
    provider: str
    kind: str = "day_ahead"  # fixed | day_ahead; an hour without a price of its own has none
    valid_from_s: float = float("-inf")
    valid_to_s: float = float("inf")
    fetched_at_s: float | None = None  # None: not fetched, a constant
    source: str = ""  # for people: the dataset, its licence, what was added


@dataclass(frozen=True, slots=True)
class Ledger:
    """Totals since the beginning; every one of them only grows. A posting gives a new ledger."""

    device_energy_j: Mapping[Device, float] = field(default_factory=dict)
    gap_s: Mapping[tuple[Device, str], float] = field(default_factory=dict)  # by device and reason
    energy_j: Mapping[tuple[str, str, Use, DeviceKind], float] = field(default_factory=dict)
    tokens: Mapping[tuple[str, str, TokenType], float] = field(default_factory=dict)
    requests: Mapping[tuple[str, str, str], float] = field(default_factory=dict)  # engine, model, outcome
    overhead_j: Mapping[tuple[str, str, Use], float] = field(default_factory=dict)  # node overhead, no counter
    it_gco2e: Mapping[tuple[str, str, Use], float] = field(default_factory=dict)  # counted joules only
    facility_gco2e: Mapping[tuple[str, str, Use], float] = field(default_factory=dict)  # (IT + overhead) * PUE * loss
    market_gco2e: Mapping[tuple[str, str, Use], float] = field(default_factory=dict)  # at the contract's factor
    marginal_gco2e: Mapping[tuple[str, str, Use], float] = field(default_factory=dict)  # at the marginal intensity
    embodied_gco2e: Mapping[tuple[str, str, Use], float] = field(default_factory=dict)
    water_l: Mapping[tuple[str, str, Use], float] = field(default_factory=dict)
    cost: Mapping[tuple[str, str, Use], float] = field(default_factory=dict)  # charged, in the price's currency
    credit: Mapping[tuple[str, str, Use], float] = field(default_factory=dict)  # of hours with a negative price
    unpriced_j: float = 0.0  # IT joules, overhead included, of times whose grid intensity nobody told
    uncosted_j: float = 0.0  # likewise, whose price nobody told


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What is known of a device now."""

    device: Device
    method: Method
    name: str = ""
    index: int | None = None
    power_w: float | None = None  # None: not known at this tick
    counter_to_power_ratio: float | None = None


@dataclass(frozen=True, slots=True, order=True)
class EngineGpu:
    """A GPU that an engine is taken to use, or a MIG instance of it."""

    device: str  # the GPU's key
    mig: str = ""  # UUID of the instance; "": the whole GPU


@dataclass(frozen=True, slots=True)
class EngineState:
    """What is known of an engine now."""

    engine: str
    kind: str = ""
    url: str = ""
    version: str = ""
    sample_age_s: float | None = None
    prefill_weight: float | None = None  # of a generated token
    weight_confidence: float | None = None  # 0..1; None: the weight is configured, not learned
    weight_residual: float | None = None  # of the fit, relative; None: nothing fitted yet
    missing: tuple[str, ...] = ()
    shared_by: tuple[str, ...] = ()  # how its part of its GPUs is known, one for each group of GPUs: accounts.By
    gpus: tuple[EngineGpu, ...] = ()  # that it is taken to use
    gpus_found: str = ""  # how that is known: places.Found


@dataclass(frozen=True, slots=True)
class Headline:
    """Ratios of ledger differences over one window, for one engine and model. None: no tokens or requests,
    so there is nothing to divide by."""

    engine: str
    model: str
    window: str  # "1m"
    boundary: str  # active | serving | facility
    generated_per_joule: float | None = None
    all_per_joule: float | None = None
    joules_per_request: float | None = None
    gco2e_per_1k_generated: float | None = None
    gco2e_per_1k_all: float | None = None
    sci_per_1k_generated: float | None = None  # operational and embodied, of boundary facility alone, as cost is
    sci_per_1k_all: float | None = None
    cost_per_1k_generated: float | None = None  # charges less credits
    cost_per_1k_all: float | None = None


@dataclass(frozen=True, slots=True)
class BudgetView:
    """How a budget stands now. Amounts are in its unit; times are Unix seconds."""

    name: str
    unit: str  # joules | gco2e | liters | a currency's code
    limit: float
    used: float  # in this period; never falls within it
    used_ratio: float
    burn_rates: Mapping[str, float | None]  # 1h, 6h, 24h; 1.0: on course to use exactly the limit. None: too early
    exhausted_at_s: float | None  # passed then, or will be at the rate of the last 6 h; None: not within a year
    resets_at_s: float | None  # None: a rolling period has no end


@dataclass(frozen=True, slots=True)
class PartHealth:
    """How a part is doing. fix says what a person can do about it."""

    part: Part
    name: str
    up: bool
    errors_total: int = 0
    last_success_s: float | None = None  # Unix time
    message: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is published at one moment. Reading it changes nothing."""

    at: Instant
    ledger: Ledger = field(default_factory=Ledger)
    devices: tuple[DeviceState, ...] = ()
    engines: tuple[EngineState, ...] = ()
    pending_j: Mapping[DeviceKind, float] = field(default_factory=dict)
    headlines: tuple[Headline, ...] = ()
    grid: GridIntensity | None = None  # the intensity in force; None: no zone, so no grams
    marginal: GridIntensity | None = None  # the marginal intensity in force, where one is asked for
    price: EnergyPrice | None = None
    located: Located | None = None  # None: nobody looked for the zone
    pue: float = 1.0
    node_overhead_w: float = 0.0
    grid_loss: float = 1.0
    market_g_per_kwh: float | None = None
    currency: str = ""  # of all costs; "": no price is configured
    settlement_gco2e: Mapping[tuple[str, str], float] = field(default_factory=dict)  # engine, model: final less booked
    embodied_unknown: tuple[str, ...] = ()  # hardware whose footprint is not known: in no grams
    budgets: tuple[BudgetView, ...] = ()
    parts: tuple[PartHealth, ...] = ()
    refused_payloads: Mapping[tuple[str, str, str], int] = field(default_factory=dict)  # grid provider, field, reason
    self_energy_j: float | None = None
    requests: RequestTotals | None = None  # None: no spans are received
