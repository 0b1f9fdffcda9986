"""`joulecar demo` asks nobody outside."""

from __future__ import annotations

import pytest

from agent.commands.demo import settings_for
from agent.grids.place import may_look
from agent.grids.table import choose, live


@pytest.mark.parametrize("zone", ["FR", "US-CA", None])
def test_the_demo_asks_nobody_for_the_intensity_or_the_zone(zone: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    monkeypatch.setenv("JOULECAR_METADATA", "")
    grid = settings_for(zone, None).grid
    assert live(grid) is None
    assert not may_look(grid)
    assert choose(grid) is not None, "AWS_REGION tells the zone where --zone does not"


def test_without_a_zone_anywhere_the_demo_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "GOOGLE_CLOUD_REGION", "AZURE_REGION", "CLOUD_REGION"):
        monkeypatch.delenv(name, raising=False)
    grid = settings_for(None, None).grid
    assert (grid.zone, live(grid), choose(grid)) == (None, None, None)
