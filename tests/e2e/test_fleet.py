"""The simulation of a fleet at a small size: what it says of 20 agents is what their pages say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.fleet.fleet import Tape, kinds
from tests.fleet.simulation import simulate

AGENTS, ROUNDS = 20, 41


@pytest.mark.e2e
def test_what_it_finds_of_twenty_agents(tmp_path: Path, figure: Figure) -> None:
    seen = simulate(tmp_path, AGENTS, ROUNDS, of_kinds=5, every="200ms", shown_s=300.0)
    # Made again for the same hours: when a machine rests and which windows it shows hangs on them.
    expected = [series(Tape(m, seen.start_s, stamped=False).page(ROUNDS - 1)) for m in kinds(5)]
    assert seen.series_per_agent == pytest.approx(sum(expected) / 5, rel=1e-12)
    assert seen.series >= AGENTS * seen.series_per_agent + 5 * AGENTS
    assert seen.samples >= AGENTS * ROUNDS * 200
    assert seen.victoria_samples >= AGENTS * ROUNDS * 200
    assert 1.0 < seen.chunk_bytes_per_sample < 10.0
    assert seen.furthest < 1e-9, "the recorded series are what the raw ones give"
    assert seen.after.by_panel.keys() == seen.before.by_panel.keys() == seen.victoria_after.by_panel.keys()
    figure(
        f"fleet of {AGENTS}: {seen.series_per_agent:.0f} series each, {seen.chunk_bytes_per_sample:.2f} B a sample, "
        f"dashboard {1e3 * seen.before.all_s:.0f} ms without rules, {1e3 * seen.after.all_s:.0f} ms with"
    )


def series(page: bytes) -> int:
    return sum(not line.startswith(b"#") for line in page.splitlines())
