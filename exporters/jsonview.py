"""The snapshot as JSON for `--json`: a shape that programs may rely on. Keys are only ever added.

    schema          "joulecar/snapshot/1"
    at              {unix_s, utc}
    window_s        seconds that energies, gaps, tokens, requests and grams are of; null: since the start
    simulated       true: the readings are replayed or made up
    devices         [{device, kind, name, index, method, power_w, energy_j, gap_s: {reason: s}, counter_to_power_ratio}]
    energy          [{engine, model, use, kind, energy_j}]; their sum and pending_j make up the devices' energy
    pending_j       {kind: J} that wait now
    models          [{engine, model, tokens: {type: n}, requests: {outcome: n}, tokens_per_joule, joules_per_request,
                    gco2e_per_1k_tokens, emissions_gco2e}]; ratios of generated tokens in the serving boundary, grams
                    in the facility boundary
    headlines       the headline gauges: [{engine, model, window, boundary, ...ratios}]
    engines         [{engine, kind, url, version, sample_age_s, prefill_weight,
                    weight_confidence, weight_residual, missing}]
    grid            {zone, g_per_kwh, provider, signal, basis, kind, valid_from_s, valid_to_s, fetched_at_s,
                    source} or null
    pue, node_overhead_w, self_energy_j
    parts           [{part, name, up, errors_total, last_success_s, message, fix}]

What is not known is null, never 0. A model or token type that an engine does not tell is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from math import isfinite

from agent.model import Ledger, Snapshot
from exporters.summary import ModelSummary, difference, summarise

SCHEMA = "joulecar/snapshot/1"


def to_json(snapshot: Snapshot, previous: Snapshot | None = None, *, simulated: bool = False) -> str:
    """One JSON object on several lines: totals since the start, or of the time since previous."""
    now, then = snapshot.ledger, previous.ledger if previous is not None else Ledger()
    summary = summarise(snapshot, previous)
    requests = difference(now.requests, then.requests)
    view = {
        "schema": SCHEMA,
        "at": {
            "unix_s": snapshot.at.wall_s,
            "utc": datetime.fromtimestamp(snapshot.at.wall_s, UTC).isoformat(timespec="milliseconds"),
        },
        "window_s": summary.window_s,
        "simulated": simulated,
        "devices": [
            {
                "device": d.device.key,
                "kind": d.device.kind,
                "name": d.state.name if d.state else "",
                "index": d.state.index if d.state else None,
                "method": d.state.method if d.state else None,
                "power_w": d.state.power_w if d.state else None,
                "energy_j": d.energy_j,
                "gap_s": d.gaps_s,
                "counter_to_power_ratio": d.state.counter_to_power_ratio if d.state else None,
            }
            for d in summary.devices
        ],
        "energy": [
            {"engine": engine, "model": model, "use": use, "kind": kind, "energy_j": energy_j}
            for (engine, model, use, kind), energy_j in difference(now.energy_j, then.energy_j).items()
        ],
        "pending_j": snapshot.pending_j,
        "models": [_model(m, requests) for m in summary.models if m.engine],
        "headlines": [asdict(h) for h in snapshot.headlines],
        "engines": [asdict(e) | {"url": _without_login(e.url)} for e in snapshot.engines],
        "grid": None if snapshot.grid is None else asdict(snapshot.grid),
        "pue": snapshot.pue,
        "node_overhead_w": snapshot.node_overhead_w,
        "self_energy_j": snapshot.self_energy_j,
        "parts": [asdict(p) for p in snapshot.parts],
    }
    return json.dumps(_finite(view), indent=2, allow_nan=False) + "\n"


def _model(m: ModelSummary, requests: Mapping[tuple[str, str, str], float]) -> dict[str, object]:
    return {
        "engine": m.engine,
        "model": m.model,
        "tokens": m.tokens,
        "requests": {o: n for (engine, model, o), n in requests.items() if (engine, model) == (m.engine, m.model)},
        "tokens_per_joule": m.tokens_per_joule(),
        "joules_per_request": m.joules_per_request(),
        "gco2e_per_1k_tokens": m.gco2e_per_1k_tokens(),
        "emissions_gco2e": m.facility_gco2e,
    }


def _without_login(url: str) -> str:
    """The address without user and password."""
    scheme, separator, rest = url.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _finite(value: object) -> object:
    """The same with null for what JSON cannot say: an open end of a validity is infinite."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
