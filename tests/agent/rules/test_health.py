"""Alerts on the agent itself: when they speak, and when they must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.grids.history import Rung
from agent.grids.place import PART
from agent.prices.feed import part_name
from agent.rules.health import FALLBACKS
from tests.agent.rules.unit import CRITICAL, GRID, WARNING, Case, groups_of, series, verdict

OPERATIONAL = {"engine": "e", "model": "m", "scope": "operational"}
GAP = {"device": "GPU-0", "kind": "gpu"}


def books(total: str, pending: str | None, device: str) -> list[dict[str, str]]:
    found = [
        series("joulecar_energy_joules_total", total, engine="e", model="m", use="decode", kind="gpu"),
        series("joulecar_energy_joules_total", "50+0x60", engine="", model="", use="unassigned", kind="gpu"),
        series("joulecar_device_energy_joules_total", device, device="GPU-0", kind="gpu"),
    ]
    return found if pending is None else [*found, series("joulecar_energy_pending_joules", pending, kind="gpu")]


def half(name: str) -> list[dict[str, str]]:
    """From minute 40 on half of two devices' joules are in a counter that none of them were in."""
    return [
        series(name, "7x40 107+100x50"),
        series("joulecar_device_energy_joules_total", "0+100x90", device="GPU-0", kind="gpu"),
        series("joulecar_device_energy_joules_total", "0+100x90", device="GPU-1", kind="gpu"),
    ]


CASES = [
    Case("JoulecarDown", [series("up", "1x5 0x20")], {"12m": [CRITICAL]}, quiet=("5m", "9m")),
    Case(
        "JoulecarDown",
        [{"series": 'up{job="monitoring/joulecar",instance="b"}', "values": "0x20"}, series("up", "0x20", job="node")],
        {"6m": [{**CRITICAL, "job": "monitoring/joulecar", "instance": "b"}]},
        target=False,
    ),
    Case("JoulecarAbsent", [series("up", "1x60", job="node")], {"11m": [CRITICAL]}, quiet=("9m",), target=False),
    Case("JoulecarAbsent", [series("up", "0x60")], quiet=("59m",)),
    Case(
        "JoulecarGap",
        [
            series("joulecar_build_info", "1x120", version="1"),
            series("joulecar_device_gap_seconds_total", "7x30 67x90", reason="reset", **GAP),
        ],
        {"32m": [{**WARNING, **GAP}], "44m": [{**WARNING, **GAP}]},
        quiet=("20m", "30m", "50m"),
    ),
    Case(  # the series is born with its first gap
        "JoulecarGap",
        [
            series("joulecar_build_info", "1x120", version="1"),
            series("joulecar_device_gap_seconds_total", "_x30 60x90", reason="reset", **GAP),
        ],
        {"31m": [{**WARNING, **GAP}], "44m": [{**WARNING, **GAP}]},
        quiet=("29m", "50m"),
    ),
    Case(  # Prometheus is young, not the gap
        "JoulecarGap",
        [
            series("joulecar_build_info", "1x120", version="1"),
            series("joulecar_device_gap_seconds_total", "60x120", reason="reset", **GAP),
        ],
        quiet=("1m", "14m", "20m"),
    ),
    Case(
        "JoulecarEngineUnreadable",
        [
            series("joulecar_part_up", "1x10 0x10", part="engine", name="chat"),
            series("joulecar_part_up", "0x20", part="grid", name="table"),
        ],
        {"17m": [{**WARNING, "part": "engine", "name": "chat"}]},
        quiet=("10m", "14m"),
    ),
    Case(
        "JoulecarPartDown",
        [
            series("joulecar_part_up", "1x10 0x20", part="ledger", name="disk"),
            series("joulecar_part_up", "0x30", part="engine", name="chat"),
            series("joulecar_part_up", "0x30", part="grid", name="table"),  # no zone configured: nobody's fault
            series("joulecar_part_up", "1x30", part="source", name="nvml"),
        ],
        {"22m": [{**WARNING, "part": "ledger", "name": "disk"}]},
        quiet=("10m", "19m"),
    ),
    Case(
        "JoulecarGridStale",
        [series("joulecar_grid_intensity_age_seconds", "0+60x300", zone="FR")],
        {"200m": [{**WARNING, "zone": "FR"}]},
        quiet=("180m", "190m"),
    ),
    Case(
        "JoulecarGridFallback",
        [
            series("joulecar_grid_intensity_info", "1x60 _x60", kind="actual", **GRID),
            series("joulecar_grid_intensity_info", "_x60 1x90", kind="last_value", **GRID),
        ],
        {"125m": [{"severity": "info", "kind": "last_value", **GRID}]},
        quiet=("60m", "110m"),
    ),
    Case(  # a live source that is down, and the yearly figure in its place
        "JoulecarGridFallback",
        [
            series("joulecar_grid_intensity_info", "1x90", kind="yearly", **GRID),
            series("joulecar_part_up", "0x90", part="grid", name="entsoe"),
        ],
        {"61m": [{"severity": "info", "kind": "yearly", **GRID}]},
    ),
    Case(  # the yearly figure as configured
        "JoulecarGridFallback",
        [
            series("joulecar_grid_intensity_info", "1x90", kind="yearly", **GRID),
            series("joulecar_part_up", "1x90", part="grid", name="table"),
        ],
        quiet=("80m",),
    ),
    Case(  # the price is silent, not the intensity
        "JoulecarGridFallback",
        [
            series("joulecar_grid_intensity_info", "1x90", kind="yearly", **GRID),
            series("joulecar_part_up", "1x90", part="grid", name="table"),
            series("joulecar_part_up", "0x90", part="grid", name=part_name("energinet")),
            series("joulecar_part_up", "0x90", part="grid", name=PART),
        ],
        quiet=("80m",),
    ),
    Case(
        "JoulecarUnpriced",
        [
            *half("joulecar_energy_unpriced_joules_total"),
            series("joulecar_emissions_gco2e_total", "9x90", **OPERATIONAL),
        ],
        {"80m": [WARNING]},
        quiet=("30m", "46m"),
    ),
    Case("JoulecarUnpriced", half("joulecar_energy_unpriced_joules_total"), quiet=("80m",)),
    Case(
        "JoulecarUncosted",
        half("joulecar_energy_uncosted_joules_total"),
        {"80m": [WARNING]},
        quiet=("30m", "46m"),
    ),
    Case(
        "JoulecarResidual",
        books("0+100x30", "10x30", "60+100x10 1061+100x20"),
        {"20m": [{**CRITICAL, "kind": "gpu"}]},
        quiet=("10m", "14m"),
    ),
    Case("JoulecarResidual", books("0+100x30", None, "51+100x30"), {"20m": [{**CRITICAL, "kind": "gpu"}]}),
    Case("JoulecarResidual", books("0+100x30", "10x30", "60+100x30"), quiet=("6m", "29m")),
    Case("JoulecarResidual", books("1e9+100x30", "0.0001x30", "1000000050+100x30"), quiet=("29m",)),
    Case(
        "JoulecarUnattributed",
        [
            series("joulecar_energy_joules_total", "0+90x120", engine="e", model="m", use="decode", kind="gpu"),
            series("joulecar_energy_joules_total", "0+900x120", engine="", model="", use="foreign", kind="gpu"),
            series("joulecar_energy_joules_total", "0+10x120", engine="", model="", use="unattributed", kind="gpu"),
        ],
        {"20m": [WARNING]},
        quiet=("10m",),
    ),
    Case(
        "JoulecarUnattributed",
        [
            series("joulecar_energy_joules_total", "0+96x120", engine="e", model="m", use="idle", kind="gpu"),
            series("joulecar_energy_joules_total", "0+4x120", engine="", model="", use="unattributed", kind="gpu"),
        ],
        quiet=("60m", "110m"),
    ),
]


@pytest.mark.parametrize("alert", sorted({case.alert for case in CASES}))
def test_an_alert_on_health_fires_when_it_should_and_not_when_it_should_not(alert: str, tmp_path: Path) -> None:
    assert verdict(tmp_path, alert, [case for case in CASES if case.alert == alert], groups_of("joulecar-health")) == ""


def test_the_grid_alert_knows_every_stand_in_of_the_ladder() -> None:
    said = {Rung.ACTUAL, Rung.ESTIMATED, Rung.FORECAST, Rung.YEARLY}
    assert set(FALLBACKS.split("|")) == {rung.value for rung in Rung if rung not in said}
