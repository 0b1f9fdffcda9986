"""What happened between two snapshots, or since the start: the numbers that people read, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from agent.model import Device, DeviceKind, DeviceState, Ledger, Method, Snapshot, TokenType, Use

Key = TypeVar("Key")

ACTIVE = (Use.PREFILL, Use.DECODE)
SERVING = (*ACTIVE, Use.IDLE)


@dataclass(frozen=True, slots=True)
class DeviceSummary:
    device: Device
    state: DeviceState | None  # None: it is gone, and so is how it was known
    energy_j: float | None  # None: nothing was ever booked for it
    gaps_s: Mapping[str, float]  # by reason, those of the window


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One engine and model; "" and "" for what belongs to nobody. The ratios are design section 7's."""

    engine: str
    model: str
    energy_j: Mapping[Use, float]  # counted joules of all kinds
    known_by: Mapping[DeviceKind, tuple[Method, ...]]  # of the kinds that these joules were counted on
    tokens: Mapping[TokenType, float]
    requests: float | None
    facility_gco2e: float | None  # of the uses that serve: prefill, decode, idle

    def energy_of(self, uses: Iterable[Use]) -> float:
        return sum(self.energy_j.get(use, 0.0) for use in uses)

    def tokens_per_joule(self, uses: Iterable[Use] = SERVING) -> float | None:
        return ratio(self.tokens.get(TokenType.GENERATED) or None, self.energy_of(uses))

    def joules_per_request(self, uses: Iterable[Use] = SERVING) -> float | None:
        return ratio(self.energy_of(uses) or None, self.requests)

    def gco2e_per_1k_tokens(self) -> float | None:
        """Grams in the facility boundary for 1,000 generated tokens."""
        per_token = ratio(self.facility_gco2e, self.tokens.get(TokenType.GENERATED))
        return None if per_token is None else 1_000 * per_token


@dataclass(frozen=True, slots=True)
class Summary:
    window_s: float | None  # None: since the start, so that there are no rates
    devices: tuple[DeviceSummary, ...]
    models: tuple[ModelSummary, ...]  # most energy first, nobody last
    booked_j: float
    pending_j: float


def ratio(value: float | None, by: float | None) -> float | None:
    """value / by; None where either is not known or by is 0."""
    return None if value is None or not by else value / by


def summarise(snapshot: Snapshot, previous: Snapshot | None) -> Summary:
    """Differences from previous to snapshot; with no previous, the totals since the start."""
    now, then = snapshot.ledger, previous.ledger if previous is not None else Ledger()
    window_s = None if previous is None else snapshot.at.mono_s - previous.at.mono_s
    energy_j = difference(now.energy_j, then.energy_j)
    return Summary(
        window_s=window_s,
        devices=_devices(snapshot, then),
        models=_models(snapshot, then),
        booked_j=sum(energy_j.values()),
        pending_j=sum(snapshot.pending_j.values()),
    )


def difference(now: Mapping[Key, float], then: Mapping[Key, float]) -> dict[Key, float]:
    return {key: value - then.get(key, 0.0) for key, value in now.items()}


def _devices(snapshot: Snapshot, then: Ledger) -> tuple[DeviceSummary, ...]:
    energy_j = difference(snapshot.ledger.device_energy_j, then.device_energy_j)
    gaps_s = difference(snapshot.ledger.gap_s, then.gap_s)
    states = {state.device: state for state in snapshot.devices}
    gone = [d for d in energy_j if d not in states and energy_j[d] > 0]
    return tuple(
        DeviceSummary(
            device,
            states.get(device),
            energy_j.get(device),
            {reason: gap_s for (d, reason), gap_s in gaps_s.items() if d == device and gap_s > 0},
        )
        for device in (*states, *gone)
    )


def _models(snapshot: Snapshot, then: Ledger) -> tuple[ModelSummary, ...]:
    now = snapshot.ledger
    energy_j = difference(now.energy_j, then.energy_j)
    tokens = difference(now.tokens, then.tokens)
    requests = difference(now.requests, then.requests)
    grams = difference(now.facility_gco2e, then.facility_gco2e)
    methods: dict[DeviceKind, tuple[Method, ...]] = {
        kind: tuple(m for m in Method if any(d.method is m and d.device.kind is kind for d in snapshot.devices))
        for kind in DeviceKind
    }

    def one(engine: str, model: str) -> ModelSummary:
        uses: dict[Use, float] = {}
        kinds = set()
        for (e, m, use, kind), joules in energy_j.items():
            if (e, m) == (engine, model):
                uses[use] = uses.get(use, 0.0) + joules
                if joules > 0:
                    kinds.add(kind)
        served = [g for (e, m, use), g in grams.items() if (e, m) == (engine, model) and use in SERVING]
        ended = [n for (e, m, _), n in requests.items() if (e, m) == (engine, model)]
        return ModelSummary(
            engine=engine,
            model=model,
            energy_j={use: uses[use] for use in Use if use in uses},
            known_by={kind: methods[kind] for kind in DeviceKind if kind in kinds},
            tokens={t: tokens[engine, model, t] for t in TokenType if (engine, model, t) in tokens},
            requests=sum(ended) if ended else None,
            facility_gco2e=sum(served) if served else None,
        )

    names = dict.fromkeys([(e, m) for e, m, _, _ in energy_j] + [(e, m) for e, m, _ in tokens])
    found = [one(engine, model) for engine, model in names]
    return tuple(sorted(found, key=lambda m: (not m.engine, -m.energy_of(Use), m.engine, m.model)))
