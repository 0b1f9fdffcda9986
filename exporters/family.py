"""What a metric family is, and what each label means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from agent.model import Histogram, Snapshot

Row = tuple[tuple[str, ...], float | None]  # label values in the order of Family.labels, and the value
Rows = Callable[[Snapshot], Iterable[Row]]
Histograms = Callable[[Snapshot], Iterable[tuple[tuple[str, ...], Histogram]]]
ENGINE_MODEL = ("engine", "model")


def no_rows(_: Snapshot) -> tuple[Row, ...]:
    return ()


def no_histograms(_: Snapshot) -> tuple[tuple[tuple[str, ...], Histogram], ...]:
    return ()


def no_labels(_: Snapshot) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family.

    name is what a Prometheus query says: a counter's ends in _total. rows is a pure function of the snapshot that gives
    (label values, value), where a value of None is not known and makes no sample. unit and notes are for METRICS.md.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    unit: str
    labels: tuple[str, ...]
    help: str
    rows: Rows = no_rows
    notes: str = ""
    histograms: Histograms = no_histograms  # in place of rows, for a histogram
    more_labels: Callable[[Snapshot], tuple[str, ...]] = no_labels  # after `labels`, as the configuration has them


@dataclass(frozen=True, slots=True)
class Theme:
    """Families that are read together."""

    title: str
    families: tuple[Family, ...]


LABELS = {
    "device": "the device's stable key: GPU UUID, `package-0`, `dram-0`, `host`; never an index, which may change",
    "kind": "what the device is: `gpu`, `cpu`, `dram`, `host`; for an engine: `vllm`, `sglang`, `llamacpp` ...; "
    "for a grid intensity, best first: `actual`, `estimated`, `forecast`, `last_value`, `last_value_shaped`, "
    "`same_hour_yesterday`, `hour_profile`, `yearly`; or `fixed`",
    "name": "the device's or the part's name, for people",
    "index": "the number that the driver gives the device now; empty where it has none",
    "method": "how the energy is known: `counter` (the hardware's own), `integrated` (trapezoid of measured power), "
    "`estimated` (a model, not a measurement)",
    "reason": "why the energy of a time is not known; why an answer was refused",
    "field": "the field of an answer that was at fault, without its place in a list",
    "engine": "the engine's name in the configuration; empty: nobody's",
    "by": "how an engine's part of a GPU is known: `own`, `sm` (processes' SM time), `instance_sm` (MIG instances' SM "
    "time), `tokens`, `memory_tokens` (times the memory of MIG instances)",
    "mig": "UUID of a MIG instance; empty: a whole GPU",
    "model": "the model's served name, at most 128 characters; `_other` beyond 200 models per engine; empty: nobody's",
    "use": "`prefill`, `decode`, `idle` (an engine is loaded and nothing runs), `foreign` (another process on a "
    "shared GPU), `unassigned` (no engine on that device), `unattributed` (the engine cannot be read, or its tokens "
    "never came)",
    "type": "`prompt_computed`, `prompt_cached` (taken from the prefix cache), `generated`",
    "outcome": "how requests ended, in the engine's own words; for spans: `attributed`, `scaled_down` (attributed, but "
    "it claims more tokens than the counters leave for it), `average`, `no_energy` (nothing was booked of its time), "
    "`duplicate`, `gateway` (the engine sends spans of its own), `no_tokens`, `bad_times`, `bad_tokens`, "
    "`in_the_future`, `unknown_engine` (or its page was never read), `unknown_model`, `dropped`",
    "window": "the time over which the ratio is taken, ending now",
    "tokens": "what is counted: `generated`, or `all` (generated, prompt computed and prompt cached)",
    "boundary": "what is included: `active` = prefill + decode; `serving` = active + idle; "
    "`facility` = (serving + node overhead) x PUE. Every kind of device is in each",
    "scope": "`operational`: from the electricity used; `embodied`: from making the hardware",
    "zone": "the grid's zone; for a price, the market's",
    "found": "how the zone was found: `config`, `env`, `pod_label`, `aws`, `gcp`, `azure`, `geoip`, `unknown`; how an "
    "engine's GPUs were: `config`, `processes` (they hold memory there), `not_seen` (nowhere, so every GPU), "
    "`unclaimed` (they have no GPU open: those with processes of no engine)",
    "currency": "of the price: ISO 4217",
    "budget": "the budget's name in the configuration",
    "unit": "`joules`, `gco2e`, `liters`, or a currency",
    "provider": "who says so",
    "signal": "`average` or `marginal`",
    "basis": "`lifecycle` (with building the plants) or `direct` (burning alone)",
    "part": "`source`, `engine`, `grid`, `ledger`, `otlp`",
    "version": "the program's version, or the releases whose page looks like this; empty where neither is known",
    "python": "the version of the interpreter",
}
