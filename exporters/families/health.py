"""How the agent, its parts and its engines do."""

from __future__ import annotations

from collections.abc import Iterator

from agent.model import Snapshot
from exporters import build
from exporters.family import Family, Row, Theme


def prefill_weight(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        yield (e.engine,), e.prefill_weight


def weight_confidence(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        yield (e.engine,), e.weight_confidence


def weight_residual(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        yield (e.engine,), e.weight_residual


def engine_info(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        yield (e.engine, e.kind, e.version), 1.0


def engine_sharing(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        for by in e.shared_by:
            yield (e.engine, by), 1.0


def engine_gpus(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        for gpu in e.gpus:
            yield (e.engine, gpu.device, gpu.mig, e.gpus_found), 1.0


def engine_sample_age(s: Snapshot) -> Iterator[Row]:
    for e in s.engines:
        yield (e.engine,), e.sample_age_s


def part_up(s: Snapshot) -> Iterator[Row]:
    for p in s.parts:
        yield (p.part, p.name), float(p.up)


def part_errors(s: Snapshot) -> Iterator[Row]:
    for p in s.parts:
        yield (p.part, p.name), float(p.errors_total)


def refused_payloads(s: Snapshot) -> Iterator[Row]:
    for key, n in s.refused_payloads.items():
        yield key, float(n)


def part_last_success(s: Snapshot) -> Iterator[Row]:
    for p in s.parts:
        yield (p.part, p.name), p.last_success_s


def self_energy(s: Snapshot) -> Iterator[Row]:
    yield (), s.self_energy_j


def build_info(_: Snapshot) -> Iterator[Row]:
    yield (build.version(), build.python()), 1.0


HEALTH = Theme(
    "How the agent does",
    (
        Family(
            "joulecar_attribution_prefill_weight",
            "gauge",
            "ratio",
            ("engine",),
            "Energy of a computed prompt token over that of a generated token, as used to split work into phases.",
            prefill_weight,
            "Learned from the counters, or from the spans of requests, at the engine's recent load, unless "
            "`attribution.prefill_weight` is a number. "
            "The price of an engine's step is part of it: it is shared by the sequences in the step.",
        ),
        Family(
            "joulecar_attribution_confidence_ratio",
            "gauge",
            "ratio",
            ("engine",),
            "How sure the split into phases is: 1/2 where prefill's share has a standard error of 5% of the work.",
            weight_confidence,
            "With the standard error e of the engine's own work, 0.05^2 / (0.05^2 + e^2): 0.96 at 1%, 0.2 at 10%. "
            "The less sure, the more of the work is split by the prior (0.12): a fifth at 10%, all at 29%; where "
            "models share a GPU by the error of all their work. Absent where the weight is configured.",
        ),
        Family(
            "joulecar_attribution_residual_ratio",
            "gauge",
            "ratio",
            ("engine",),
            "What the learned prices leave unexplained of a window's energy above the idle floor: RMS over mean.",
            weight_residual,
            "Absent until something is learned. It moves no joule: what is booked always adds up.",
        ),
        Family(
            "joulecar_engine_info",
            "gauge",
            "always 1",
            ("engine", "kind", "version"),
            "Engines that are read.",
            engine_info,
        ),
        Family(
            "joulecar_engine_sharing_info",
            "gauge",
            "always 1",
            ("engine", "by"),
            "How the engine's part of its GPUs' energy is told from that of others.",
            engine_sharing,
            "`own`: no other engine is configured on them, and whether others use them is not known. `sm`: by the SM "
            "time of processes; what strangers used is `foreign`. `instance_sm`: likewise by that of MIG instances. "
            "`tokens`: by weighted tokens, since processes cannot be told; `memory_tokens`: each times the memory of "
            "its MIG instance. "
            "Two series where it is on GPUs of both kinds.",
        ),
        Family(
            "joulecar_engine_gpu_info",
            "gauge",
            "always 1",
            ("engine", "device", "mig", "found"),
            "GPUs that the engine is taken to use, with its MIG instances, and how that is known.",
            engine_gpus,
            "`found`: `config`, it is configured. `processes`: the engine's processes hold memory there. `not_seen`: "
            "its processes are seen on no GPU, so it is taken to use every one. `unclaimed`: its processes have no GPU "
            "open, so it is left those with processes of no engine, and there is no series where there are none. "
            "`mig` is empty for a whole GPU.",
        ),
        Family(
            "joulecar_engine_sample_age_seconds",
            "gauge",
            "seconds",
            ("engine",),
            "Time since the engine's page was last read well.",
            engine_sample_age,
            "Absent until the first good read.",
        ),
        Family(
            "joulecar_part_up",
            "gauge",
            "1 or 0",
            ("part", "name"),
            "Whether the part works now: 1 or 0.",
            part_up,
        ),
        Family(
            "joulecar_part_errors_total",
            "counter",
            "errors",
            ("part", "name"),
            "Errors of the part.",
            part_errors,
            "The log says when a part breaks and when it heals; this counts all between.",
        ),
        Family(
            "joulecar_grid_refused_payloads_total",
            "counter",
            "answers",
            ("provider", "field", "reason"),
            "Answers of a grid provider that were refused, by the field at fault and the reason.",
            refused_payloads,
            "Each is one of joulecar_part_errors_total, unless it was of a part of the answer that may lack, such as a "
            "forecast. Reasons are a closed list: missing, null, not_a_number, not_finite, out_of_range, other_zone, "
            "other_quantity (unit, signal, basis), not_utc, repeated_time, other_time, empty, error_body, unreadable, "
            "too_large, unexpected. Absent until the first.",
        ),
        Family(
            "joulecar_part_last_success_timestamp_seconds",
            "gauge",
            "seconds since 1970",
            ("part", "name"),
            "When the part last worked, in Unix time.",
            part_last_success,
            "Absent if it never did.",
        ),
        Family(
            "joulecar_self_energy_joules_total",
            "counter",
            "joules",
            (),
            "Energy of the agent itself, estimated from its processor time.",
            self_energy,
            "A part of the processor's energy above, not on top of it. It grows every 5 s, not at every tick.",
        ),
        Family(
            "joulecar_build_info",
            "gauge",
            "always 1",
            ("version", "python"),
            "The version that runs.",
            build_info,
        ),
    ),
)
