"""Snapshots for the exporters' tests: one that fills every family, and a source that holds one."""

from __future__ import annotations

from dataclasses import dataclass

from agent.model import (
    BudgetView,
    Device,
    DeviceKind,
    DeviceState,
    EnergyPrice,
    EngineGpu,
    EngineState,
    Exemplar,
    GridIntensity,
    Headline,
    Histogram,
    Instant,
    Ledger,
    Located,
    Method,
    Part,
    PartHealth,
    RequestOutcome,
    RequestTotals,
    Snapshot,
    TokenType,
    Use,
)

GPU0 = Device(DeviceKind.GPU, "GPU-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0001")
GPU1 = Device(DeviceKind.GPU, "GPU-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0002")
CPU = Device(DeviceKind.CPU, "package-0")
DRAM = Device(DeviceKind.DRAM, "dram-0")

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
QWEN = "Qwen/Qwen2.5-0.5B"
START = Instant(1_000.0, 1_790_000_000.0)


@dataclass
class HeldSnapshot:
    """A SnapshotSource whose snapshot a test sets."""

    held: Snapshot

    def snapshot(self) -> Snapshot:
        return self.held


def full_snapshot(scale: float = 1.0, *, at: Instant = START) -> Snapshot:
    """Every family has a sample. Ledger totals are `scale` times those at scale 1, so that two make a window."""
    energy_j = {
        ("vllm-a", LLAMA, Use.PREFILL, DeviceKind.GPU): 1_200.0,
        ("vllm-a", LLAMA, Use.DECODE, DeviceKind.GPU): 3_600.5,
        ("vllm-a", LLAMA, Use.IDLE, DeviceKind.GPU): 150.0,
        ("vllm-a", LLAMA, Use.PREFILL, DeviceKind.CPU): 100.0,
        ("vllm-a", LLAMA, Use.DECODE, DeviceKind.CPU): 300.0,
        ("vllm-a", LLAMA, Use.DECODE, DeviceKind.DRAM): 80.0,
        ("llama", QWEN, Use.PREFILL, DeviceKind.CPU): 40.0,
        ("llama", QWEN, Use.DECODE, DeviceKind.CPU): 160.0,
        ("", "", Use.UNASSIGNED, DeviceKind.GPU): 710.0,
        ("", "", Use.UNATTRIBUTED, DeviceKind.GPU): 12.25,
    }
    pending_j = {DeviceKind.GPU: 37.25 * scale, DeviceKind.CPU: 0.0}
    by_kind = {kind: sum(v for k, v in energy_j.items() if k[3] is kind) for kind in DeviceKind}
    grams = {(e, m, u): 0.0 for e, m, u, _ in energy_j}
    for (e, m, u, _), joules in energy_j.items():
        grams[e, m, u] += joules / 3.6e6 * 310.0
    ledger = Ledger(
        device_energy_j={
            GPU0: (by_kind[DeviceKind.GPU] - 710.0 + 37.25) * scale,
            GPU1: 710.0 * scale,
            CPU: by_kind[DeviceKind.CPU] * scale,
            DRAM: by_kind[DeviceKind.DRAM] * scale,
        },
        gap_s={(GPU0, "reset"): 3.0 * scale},
        energy_j={k: v * scale for k, v in energy_j.items()},
        tokens={
            ("vllm-a", LLAMA, TokenType.PROMPT_COMPUTED): 45_670.0 * scale,
            ("vllm-a", LLAMA, TokenType.PROMPT_CACHED): 8_900.0 * scale,
            ("vllm-a", LLAMA, TokenType.GENERATED): 12_340.0 * scale,
            ("llama", QWEN, TokenType.GENERATED): 420.0 * scale,
        },
        requests={
            ("vllm-a", LLAMA, "stop"): 44.0 * scale,
            ("vllm-a", LLAMA, "length"): 4.0 * scale,
        },
        overhead_j={("vllm-a", LLAMA, Use.DECODE): 200.0 * scale},
        it_gco2e={k: v * scale for k, v in grams.items()},
        facility_gco2e={k: v * 1.2 * scale for k, v in grams.items()},
        market_gco2e={k: v * 0.15 * scale for k, v in grams.items()},
        marginal_gco2e={k: v * 2.0 * scale for k, v in grams.items()},
        embodied_gco2e={("vllm-a", LLAMA, Use.DECODE): 0.25 * scale, ("", "", Use.UNASSIGNED): 0.125 * scale},
        water_l={("vllm-a", LLAMA, Use.DECODE): 0.0025 * scale},
        cost={("vllm-a", LLAMA, Use.DECODE): 0.0005 * scale},
        credit={("vllm-a", LLAMA, Use.DECODE): 0.00001 * scale},
        unpriced_j=12.5 * scale,
        uncosted_j=2.5 * scale,
    )
    return Snapshot(
        at=at,
        ledger=ledger,
        devices=(
            DeviceState(GPU0, Method.COUNTER, "NVIDIA H100 80GB HBM3", 0, 512.5, 1.031),
            DeviceState(GPU1, Method.INTEGRATED, "NVIDIA H100 80GB HBM3", 1, 71.0),
            DeviceState(CPU, Method.ESTIMATED, "AMD EPYC 9354", None, 60.0),
            DeviceState(DRAM, Method.ESTIMATED, "", None, None),
        ),
        engines=(
            EngineState(
                "vllm-a",
                "vllm",
                "http://127.0.0.1:8000",
                "0.11.0",
                2.5,
                0.043,
                0.97,
                0.02,
                shared_by=("own", "sm"),
                gpus=(EngineGpu(GPU0.key), EngineGpu(GPU1.key, "MIG-6d1c4a1e-0b62-4a9e-9d0e-3f6a5f0c0011")),
                gpus_found="processes",
            ),
            EngineState("llama", "llamacpp", "http://127.0.0.1:8080", "", 0.5, 0.12),
            EngineState("gone", url="http://127.0.0.1:9"),
        ),
        pending_j=pending_j,
        headlines=(
            Headline("vllm-a", LLAMA, "1m", "active", 2.5, 13.5, 109.0, 0.04, 0.0075),
            Headline("vllm-a", LLAMA, "1m", "facility", 1.9, 10.25, 140.0, 0.05, 0.01, 0.07, 0.014, 0.0004, 0.0001),
            Headline("llama", QWEN, "1m", "active", 2.0),
            Headline("llama", QWEN, "5m", "active"),
        ),
        grid=GridIntensity(
            "DE",
            310.0,
            "electricity_maps",
            kind="estimated",
            valid_from_s=at.wall_s - 600,
            valid_to_s=at.wall_s + 3_000,
            fetched_at_s=at.wall_s - 240,
        ),
        marginal=GridIntensity("DE", 620.0, "watttime", signal="marginal", fetched_at_s=at.wall_s - 60),
        price=EnergyPrice("DE-LU", 0.21, "EUR", "energy_charts"),
        located=Located("DE", "config", "grid.zone"),
        pue=1.2,
        node_overhead_w=25.0,
        grid_loss=1.04,
        market_g_per_kwh=45.0,
        currency="EUR",
        embodied_unknown=("NVIDIA L40S",),
        settlement_gco2e={("vllm-a", LLAMA): -0.75},
        budgets=(
            BudgetView(
                "month", "joules", 3.6e6, 1.8e6, 0.5, {"1h": 1.5, "6h": 1.0, "24h": None}, at.wall_s + 9, at.wall_s
            ),
        ),
        parts=(
            PartHealth(Part.SOURCE, "nvml", True, 1, at.wall_s),
            PartHealth(Part.ENGINE, "vllm-a", True, 0, at.wall_s - 2.5),
            PartHealth(
                Part.ENGINE,
                "gone",
                False,
                17,
                None,
                "connection refused",
                "start the server or correct engine.url",
            ),
            PartHealth(Part.GRID, "electricity_maps", True, 0, at.wall_s - 240),
        ),
        refused_payloads={("electricity_maps", "carbonIntensity", "null"): 2},
        self_energy_j=4.5 * scale,
        requests=requests(scale),
    )


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def requests(scale: float) -> RequestTotals:
    """Thirty requests at scale 1, one of which has a trace."""
    n = round(10 * scale)
    joules = Histogram((1.0, 10.0), (n, 2 * n, 0), 95.0 * scale, (None, Exemplar(TRACE, 4.25, START.wall_s), None))
    grams = Histogram((1e-5, 0.001), (0, 3 * n, 0), 8e-3 * scale, (None, None, None))
    return RequestTotals(
        spans={("vllm-a", RequestOutcome.ATTRIBUTED): 3 * n, ("", RequestOutcome.UNKNOWN_ENGINE): n},
        energy={("vllm-a", LLAMA): joules},
        emissions={("vllm-a", LLAMA): grams},
        group_by=("tenant.id",),
        groups={("vllm-a", LLAMA, ("blue",)): 95.0 * scale},
        clock_shift_s={"vllm-a": 0.25},
        groups_gco2e={("vllm-a", LLAMA, ("blue",)): 8e-3 * scale},
    )
