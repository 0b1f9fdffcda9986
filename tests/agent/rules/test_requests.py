"""Alerts on what the spans of requests account for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.rules.unit import CRITICAL, Case, groups_of, series, verdict

WHO = {"engine": "e", "model": "m"}
INFO = {"severity": "info"}


def spent(given: str, active: str, *, grouped: bool = True) -> list[dict[str, str]]:
    """Joules that requests were given, and all that were booked: a tenth of these to prefill."""
    name = "joulecar_request_energy_joules"
    found = [
        series(f"{name}_sum", given, **WHO),
        series(f"{name}_count", given, **WHO),
        series("joulecar_energy_joules_total", active, use="decode", kind="gpu", **WHO),
        series("joulecar_energy_joules_total", "0+10x300", use="prefill", kind="cpu", **WHO),
        series("joulecar_energy_joules_total", "0+900x300", use="idle", kind="gpu", **WHO),
    ]
    if grouped:
        found.append(series("joulecar_group_energy_joules_total", given, tenant_id="blue", **WHO))
    return found


CASES = [
    Case("JoulecarRequestCoverage", spent("0+80x300", "0+90x300"), {"130m": [{**INFO, **WHO}]}, quiet=("50m",)),
    Case("JoulecarRequestCoverage", spent("0+95x300", "0+90x300"), quiet=("130m", "240m")),
    Case("JoulecarRequestCoverage", spent("0+10x300", "0+90x300", grouped=False), quiet=("240m",)),  # sampled traces
    Case("JoulecarRequestCoverage", spent("50x300", "0+90x300"), quiet=("240m",)),  # no span comes any more
    Case(  # the first hour in which spans come is not judged by the time before
        "JoulecarRequestCoverage", spent("_x120 0+99x180", "0+90x300"), quiet=("130m", "180m", "240m")
    ),
    Case(
        "JoulecarRequestResidual",
        [
            *spent("0+100x60", "0+90x60"),
            series("joulecar_request_unclaimed_joules", "0x20 -1x40", **WHO),
        ],
        {"27m": [{**CRITICAL, **WHO}]},
        quiet=("20m", "24m"),
    ),
    Case(  # rounding
        "JoulecarRequestResidual",
        [*spent("1e9+100x60", "1e9+90x60"), series("joulecar_request_unclaimed_joules", "-0.000001x60", **WHO)],
        quiet=("50m",),
    ),
]


@pytest.mark.parametrize("alert", sorted({case.alert for case in CASES}))
def test_an_alert_on_requests_fires_when_it_should_and_not_when_it_should_not(alert: str, tmp_path: Path) -> None:
    rules = groups_of("joulecar-requests")
    assert verdict(tmp_path, alert, [case for case in CASES if case.alert == alert], rules) == ""
