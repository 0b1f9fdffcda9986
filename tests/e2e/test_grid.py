"""Live intensities, end to end: an operator's file, and another agent that takes them from the first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.fakes.daemon import Daemon

pytestmark = pytest.mark.e2e


def hourly(path: Path, g_per_kwh: float) -> None:
    """A file that says g_per_kwh for each hour of yesterday and today."""
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=30)
    rows = ["from,to,g_per_kwh,zone"]
    for hour in range(36):
        begin, end = first + timedelta(hours=hour), first + timedelta(hours=hour + 1)
        rows.append(f"{begin:%Y-%m-%dT%H:%MZ},{end:%Y-%m-%dT%H:%MZ},{g_per_kwh},DE")
    path.write_text("\n".join(rows) + "\n")


def daemon(folder: Path, grid: str) -> Daemon:
    return Daemon(
        folder, f'[agent]\ninterval = "250ms"\nwindow = "500ms"\n[sources]\nnvml = "off"\nrapl = "off"\n{grid}'
    )


def test_a_file_prices_the_joules_and_a_second_agent_takes_over_its_intensities(tmp_path: Path) -> None:
    told = tmp_path / "told.csv"
    hourly(told, 234.5)
    first_grid = f'[grid]\nzone = "DE"\nproviders = ["file", "table"]\n[grid.file]\npath = "{told}"\n'
    with daemon(tmp_path / "first", first_grid) as first:
        first.wait_for(lambda s: s.get("joulecar_grid_intensity_gco2e_per_kwh", zone="DE") == 234.5)
        last = first.wait_for(lambda s: s.total("joulecar_emissions_gco2e_total") > 0)
        assert last.label("joulecar_grid_intensity_info", "provider") == "file"
        assert last.label("joulecar_grid_intensity_info", "kind") == "actual"

        base = first.url.removesuffix("/metrics")
        second_grid = f'[grid]\nzone = "DE"\nproviders = ["joulecar"]\n[grid.joulecar]\nbase_url = "{base}"\n'
        with daemon(tmp_path / "second", second_grid) as second:
            taken = second.wait_for(lambda s: s.get("joulecar_grid_intensity_gco2e_per_kwh", zone="DE") == 234.5)
            assert taken.label("joulecar_grid_intensity_info", "kind") == "actual"


def test_a_file_that_cannot_be_read_leaves_the_yearly_figure_and_says_so(tmp_path: Path) -> None:
    told = tmp_path / "told.csv"
    told.write_text("from,to,g_per_kwh\nnonsense,2026,1\n")
    grid = f'[grid]\nzone = "DE"\nproviders = ["file", "table"]\n[grid.file]\npath = "{told}"\n'
    with daemon(tmp_path / "agent", grid) as agent:
        last = agent.wait_for(lambda s: s.get("joulecar_part_up", part="grid", name="file") == 0)
        assert last.label("joulecar_grid_intensity_info", "kind") == "yearly"
        assert last.value("joulecar_part_errors_total", part="grid", name="file") >= 1
