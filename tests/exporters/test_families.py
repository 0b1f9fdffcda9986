"""The table of families: complete, and true to the snapshot."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from agent.model import (
    Device,
    DeviceKind,
    DeviceState,
    EngineState,
    GridIntensity,
    Headline,
    Ledger,
    Method,
    Part,
    PartHealth,
    Snapshot,
)
from exporters.families import FAMILIES
from exporters.family import LABELS
from exporters.prometheus import Exposition
from tests.fakes.snapshots import CPU, LLAMA, START, HeldSnapshot, full_snapshot

# Everything that other software may have written into a dashboard or a rule.
NAMES = [
    "joulecar_device_info",
    "joulecar_device_energy_joules_total",
    "joulecar_device_power_watts",
    "joulecar_device_gap_seconds_total",
    "joulecar_device_energy_to_power_ratio",
    "joulecar_energy_joules_total",
    "joulecar_energy_pending_joules",
    "joulecar_tokens_total",
    "joulecar_requests_total",
    "joulecar_tokens_per_joule",
    "joulecar_joules_per_request",
    "joulecar_gco2e_per_1k_tokens",
    "joulecar_emissions_gco2e_total",
    "joulecar_emissions_settlement_gco2e",
    "joulecar_emissions_market_based_gco2e_total",
    "joulecar_emissions_marginal_gco2e_total",
    "joulecar_energy_unpriced_joules_total",
    "joulecar_grid_intensity_gco2e_per_kwh",
    "joulecar_grid_marginal_intensity_gco2e_per_kwh",
    "joulecar_grid_zone_info",
    "joulecar_market_based_intensity_gco2e_per_kwh",
    "joulecar_grid_loss_ratio",
    "joulecar_sci_gco2e_per_1k_tokens",
    "joulecar_embodied_unknown_info",
    "joulecar_water_liters_total",
    "joulecar_energy_cost_total",
    "joulecar_energy_credit_total",
    "joulecar_energy_uncosted_joules_total",
    "joulecar_cost_per_1k_tokens",
    "joulecar_energy_price_per_kwh",
    "joulecar_request_energy_joules",
    "joulecar_request_emissions_gco2e",
    "joulecar_request_spans_total",
    "joulecar_request_clock_shift_seconds",
    "joulecar_request_span_delay_seconds",
    "joulecar_request_unclaimed_joules",
    "joulecar_group_energy_joules_total",
    "joulecar_group_emissions_gco2e_total",
    "joulecar_budget_limit",
    "joulecar_budget_used",
    "joulecar_budget_used_ratio",
    "joulecar_budget_burn_rate",
    "joulecar_budget_exhausted_timestamp_seconds",
    "joulecar_budget_resets_timestamp_seconds",
    "joulecar_grid_intensity_info",
    "joulecar_grid_intensity_age_seconds",
    "joulecar_pue",
    "joulecar_node_overhead_watts",
    "joulecar_attribution_confidence_ratio",
    "joulecar_attribution_prefill_weight",
    "joulecar_attribution_residual_ratio",
    "joulecar_engine_info",
    "joulecar_engine_sharing_info",
    "joulecar_engine_gpu_info",
    "joulecar_engine_sample_age_seconds",
    "joulecar_part_up",
    "joulecar_part_errors_total",
    "joulecar_grid_refused_payloads_total",
    "joulecar_part_last_success_timestamp_seconds",
    "joulecar_self_energy_joules_total",
    "joulecar_build_info",
]


def samples(snapshot: Snapshot) -> list[str]:
    """The lines of a scrape that hold a number."""
    body, _ = Exposition(HeldSnapshot(snapshot), process=False).render()
    return [line for line in body.decode().splitlines() if not line.startswith("#")]


def test_the_table_holds_every_name_of_the_contract_once() -> None:
    assert sorted(f.name for f in FAMILIES) == sorted(NAMES)


def test_the_full_snapshot_fills_every_family() -> None:
    found = {line.partition("{")[0].partition(" ")[0] for line in samples(full_snapshot())}
    parts = {f"{f.name}_{part}" for f in FAMILIES if f.type == "histogram" for part in ("bucket", "count", "sum")}
    assert parts <= found
    assert found - parts == {f.name for f in FAMILIES if f.type != "histogram"}


def test_counters_and_only_counters_end_in_total() -> None:
    assert [f.name for f in FAMILIES if f.name.endswith("_total") != (f.type == "counter")] == []


def test_every_label_is_explained_and_every_explanation_used() -> None:
    assert {label for f in FAMILIES for label in f.labels} == set(LABELS)


def test_sums_by_kind_are_the_devices_sums() -> None:
    s = full_snapshot()
    rows = {f.name: list(f.rows(s)) for f in FAMILIES}
    for kind in DeviceKind:
        booked = sum(v or 0 for labels, v in rows["joulecar_energy_joules_total"] if labels[3] == kind)
        waits = sum(v or 0 for labels, v in rows["joulecar_energy_pending_joules"] if labels[0] == kind)
        read = sum(v or 0 for labels, v in rows["joulecar_device_energy_joules_total"] if labels[1] == kind)
        assert booked + waits == pytest.approx(read, rel=1e-9)


def test_emissions_are_the_facilitys_over_all_uses_and_nobody_is_priced_too() -> None:
    s = full_snapshot()
    lines = dict(line.rsplit(" ", 1) for line in samples(s) if 'scope="operational"' in line)
    assert sum(map(float, lines.values())) == pytest.approx(sum(s.ledger.facility_gco2e.values()))
    assert 'joulecar_emissions_gco2e_total{engine="",model="",scope="operational"}' in lines


def test_tokens_label_tells_generated_from_all() -> None:
    body = "\n".join(samples(full_snapshot()))
    who = f'engine="vllm-a",model="{LLAMA}",window="1m"'
    assert f'joulecar_tokens_per_joule{{{who},tokens="generated",boundary="active"}} 2.5' in body
    assert f'joulecar_tokens_per_joule{{{who},tokens="all",boundary="active"}} 13.5' in body
    assert f'joulecar_gco2e_per_1k_tokens{{{who},tokens="generated",boundary="facility"}} 0.05' in body
    assert f'joulecar_gco2e_per_1k_tokens{{{who},tokens="all",boundary="facility"}} 0.01' in body
    assert f'joulecar_joules_per_request{{{who},boundary="facility"}} 140.0' in body


def test_what_is_not_known_has_no_sample() -> None:
    nothing_known = Snapshot(
        START,
        devices=(DeviceState(CPU, Method.COUNTER),),
        engines=(EngineState("e"),),
        headlines=(Headline("e", "m", "1m", "active"),),
        parts=(PartHealth(Part.ENGINE, "e", up=False),),
    )
    assert [line for line in samples(nothing_known) if not line.startswith("joulecar_build_info")] == [
        'joulecar_device_info{device="package-0",kind="cpu",name="",index="",method="counter"} 1.0',
        "joulecar_energy_unpriced_joules_total 0.0",
        "joulecar_grid_loss_ratio 1.0",
        "joulecar_pue 1.0",
        "joulecar_node_overhead_watts 0.0",
        'joulecar_engine_info{engine="e",kind="",version=""} 1.0',
        'joulecar_part_up{part="engine",name="e"} 0.0',
        'joulecar_part_errors_total{part="engine",name="e"} 0.0',
    ]


def test_a_refused_answer_is_told_with_its_provider_field_and_reason() -> None:
    refused = Snapshot(START, refused_payloads={("neso", "data.intensity.actual", "out_of_range"): 2})
    series = 'joulecar_grid_refused_payloads_total{provider="neso",field="data.intensity.actual",reason="out_of_range"}'
    assert f"{series} 2.0" in list(samples(refused))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_never_leaves(value: float) -> None:
    s = Snapshot(START, devices=(DeviceState(CPU, Method.COUNTER, power_w=value),), self_energy_j=value)
    text = "\n".join(samples(s))
    assert "watts" not in text.replace("overhead_watts", "")
    assert "self_energy" not in text


def test_a_constant_intensity_has_no_age() -> None:
    s = replace(full_snapshot(), grid=GridIntensity("DE", 350.0, "table", kind="yearly"))
    assert not [line for line in samples(s) if "intensity_age" in line]
    assert 'joulecar_grid_intensity_gco2e_per_kwh{zone="DE"} 350.0' in samples(s)


def test_a_clock_set_back_makes_no_negative_age() -> None:
    s = replace(full_snapshot(), grid=GridIntensity("DE", 350.0, "rte", fetched_at_s=START.wall_s + 60))
    assert 'joulecar_grid_intensity_age_seconds{zone="DE"} 0.0' in samples(s)


def test_a_device_that_left_keeps_its_energy() -> None:
    gone = Device(DeviceKind.GPU, "GPU-gone")
    s = Snapshot(START, ledger=Ledger(device_energy_j={gone: 7.5}))
    assert 'joulecar_device_energy_joules_total{device="GPU-gone",kind="gpu"} 7.5' in samples(s)
