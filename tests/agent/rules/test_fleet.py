"""Sums over a fleet, and the alert that compares them with last week's."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.rules.fleet import groups
from agent.rules.rule import Record
from tests.agent.rules.unit import GRID, WARNING, Case, groups_of, promtool, series, serving, verdict

OWN, NOBODY = {"engine": "e", "model": "m"}, {"engine": "", "model": ""}
A, B = {"instance": "a", "cluster": "c"}, {"instance": "b", "cluster": "c"}
FLEET = [
    # a: 200 W of model m, 300 W of nobody's, 100 tokens/s, 0.01 g/s of m and 0.02 of nobody
    *serving("0+6000x20", "0+9000x20", **A),
    series("joulecar_energy_joules_total", "0+3000x20", **A, **OWN, use="idle"),
    series("joulecar_energy_joules_total", "0+18000x20", **A, **NOBODY, use="unassigned"),
    series("joulecar_emissions_gco2e_total", "0+0.6x20", **A, **OWN, scope="operational"),
    series("joulecar_emissions_gco2e_total", "0+1.2x20", **A, **NOBODY, scope="operational"),
    series("joulecar_emissions_gco2e_total", "0+6x20", **A, **OWN, scope="embodied"),
    series("joulecar_device_energy_joules_total", "0+30000x20", **A, device="GPU-0", kind="gpu"),
    series("joulecar_requests_total", "0+60x20", **A, **OWN, outcome="stop"),
    series("joulecar_requests_total", "0+60x20", **A, **OWN, outcome="length"),
    series("joulecar_grid_intensity_info", "1x20", **A, kind="actual", **GRID),
    # its marginal intensity is told for a zone by another name: that must not break the sums
    series("joulecar_grid_intensity_info", "1x20", **A, kind="actual", **{**GRID, "signal": "marginal", "zone": "A"}),
    # b: in the same zone, 100 W and 400 tokens/s of m
    *serving("0+24000x20", "0+6000x20", **B),
    series("joulecar_emissions_gco2e_total", "0+0.6x20", **B, **OWN, scope="operational"),
    series("joulecar_grid_intensity_info", "1x20", **B, kind="yearly", **GRID),
    # d: knows no zone, 50 W and 100 tokens/s of n
    *serving("0+6000x20", "0+3000x20", instance="d", cluster="c", model="n"),
    # x: in another cluster, loaded and never asked
    *serving("0x20", "0+3000x20", instance="x", cluster="other"),
]
C, M, FR, OTHER = 'cluster="c",job="joulecar"', 'model="m"', 'zone="FR"', 'cluster="other",job="joulecar",model="m"'
RECORDED: dict[str, dict[str, float]] = {
    "instance:joulecar_zone:info": {
        f'{C},instance="a",{FR}': 1,
        f'{C},instance="b",{FR}': 1,
        f'{C},instance="d"': 1,
        'cluster="other",instance="x",job="joulecar"': 1,
    },
    "model:joulecar_energy_joules": {
        f'{C},{M},use="decode",{FR}': 250,
        f'{C},{M},use="idle",{FR}': 50,
        f'{C},use="unassigned",{FR}': 300,
        f'{C},model="n",use="decode"': 50,
        f'{OTHER},use="decode"': 50,
    },
    "model:joulecar_tokens": {
        f'{C},{M},type="generated",{FR}': 500,
        f'{C},model="n",type="generated"': 100,
        f'{OTHER},type="generated"': 0,
    },
    "model:joulecar_requests": {f"{C},{M},{FR}": 2},
    "model:joulecar_emissions_gco2e": {
        f'{C},{M},scope="operational",{FR}': 0.02,
        f'{C},scope="operational",{FR}': 0.02,
        f'{C},{M},scope="embodied",{FR}': 0.1,
    },
    "model:joulecar_tokens_per_joule": {f"{C},{M},{FR}": 500 / 300, f'{C},model="n"': 2},
    "model:joulecar_gco2e_per_1k_tokens": {f"{C},{M},{FR}": 0.04},
    "zone:joulecar_device_energy_joules": {f'{C},kind="gpu",{FR}': 500},
    "zone:joulecar_energy_joules": {
        f'{C},use="decode",{FR}': 250,
        f'{C},use="idle",{FR}': 50,
        f'{C},use="unassigned",{FR}': 300,
        f'{C},use="decode"': 50,
        'cluster="other",job="joulecar",use="decode"': 50,
    },
    "zone:joulecar_tokens": {
        f'{C},type="generated",{FR}': 500,
        f'{C},type="generated"': 100,
        'cluster="other",job="joulecar",type="generated"': 0,
    },
    "zone:joulecar_requests": {f"{C},{FR}": 2},
    "zone:joulecar_emissions_gco2e": {f'{C},scope="operational",{FR}': 0.04, f'{C},scope="embodied",{FR}': 0.1},
    "zone:joulecar_tokens_per_joule": {f"{C},{FR}": 500 / 300, C: 2},
    "zone:joulecar_gco2e_per_1k_tokens": {f"{C},{FR}": 0.04},
    "cluster:joulecar_device_energy_joules": {f'{C},kind="gpu"': 500},
    "cluster:joulecar_energy_joules": {
        f'{C},use="decode"': 300,
        f'{C},use="idle"': 50,
        f'{C},use="unassigned"': 300,
        'cluster="other",job="joulecar",use="decode"': 50,
    },
    "cluster:joulecar_tokens": {
        f'{C},type="generated"': 600,
        'cluster="other",job="joulecar",type="generated"': 0,
    },
    "cluster:joulecar_requests": {C: 2},
    "cluster:joulecar_emissions_gco2e": {f'{C},scope="operational"': 0.04, f'{C},scope="embodied"': 0.1},
    "cluster:joulecar_tokens_per_joule": {C: 600 / 350},
    "cluster:joulecar_gco2e_per_1k_tokens": {C: 0.04},
}
HALVED = [
    Case(  # from 2 tokens per joule to 0.86, 7 days and 2 hours after the beginning
        "JoulecarTokensPerJouleHalved",
        serving("0+600x360", "0+300x340 102700+700x20"),
        {"10320m": [{**WARNING, "model": "m", "job": "joulecar"}]},
        quiet=("10200m", "10260m"),
        every="30m",
        target=False,
    ),
    Case(  # to 1.2
        "JoulecarTokensPerJouleHalved",
        serving("0+600x360", "0+300x340 102500+500x20"),
        quiet=("10320m", "10800m"),
        every="30m",
    ),
]


def records() -> list[str]:
    return [rule.name for group in groups() for rule in group.rules if isinstance(rule, Record)]


def test_a_fleet_is_summed_by_model_zone_and_cluster_and_a_ratio_is_one_of_sums(tmp_path: Path) -> None:
    """Agent a makes 0.5 tokens per joule and b 4: together 1.67, not the mean of 2.25. d knows no zone, and its
    tokens dilute nobody's grams. In whole millionths, since promtool compares exactly."""
    rules = groups_of("joulecar-fleet-5m", "joulecar-fleet-1h")
    for group in rules["groups"]:
        group["rules"] = [rule for rule in group["rules"] if "record" in rule]
    ranges = [
        f"{name}{suffix}" for name in RECORDED for suffix in ((":rate5m", ":rate1h") if "info" not in name else ("",))
    ]
    assert sorted(ranges) == sorted(records())
    tests = [
        {
            "expr": f"round(1e6 * {name})",
            "eval_time": "20m",
            "exp_samples": [
                {"labels": f"{{{labels}}}", "value": round(1e6 * value)}
                for labels, value in RECORDED[name.removesuffix(":rate5m").removesuffix(":rate1h")].items()
            ],
        }
        for name in ranges
        if not name.endswith("1h")  # the same but for the range, of which the series fill only a part
    ]
    assert promtool(tmp_path, rules, [{"interval": "1m", "input_series": FLEET, "promql_expr_test": tests}]) == ""


@pytest.mark.parametrize("level", ["model", "zone", "cluster"])
def test_the_two_ranges_of_a_recorded_rate_differ_in_nothing_else(level: str) -> None:
    rules = {rule.name: rule.expr for group in groups() for rule in group.rules if isinstance(rule, Record)}
    short = {name: expr for name, expr in rules.items() if name.startswith(level) and name.endswith("rate5m")}
    assert len(short) >= 6
    for name, expr in short.items():
        assert rules[name.replace("5m", "1h")] == expr.replace("5m", "1h")


def test_half_the_tokens_for_a_joule_of_last_week_is_told(tmp_path: Path) -> None:
    rules = groups_of("joulecar-fleet-5m", "joulecar-fleet-1h")
    assert verdict(tmp_path, "JoulecarTokensPerJouleHalved", HALVED, rules) == ""
