from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sources.tdp import (
    IDLE_SHARE,
    PEAK_SHARE,
    TdpTable,
    codecarbon_table,
    estimate_cpu_power_w,
    estimate_memory_power_w,
    read_table,
)
from tests.bench.cpu_curve import BASELINE, CURVES, bias, energy_error, fit, shares
from tests.sweeps import load_sweeps


@pytest.fixture(scope="module")
def table() -> TdpTable:
    found = codecarbon_table()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "tdp_w"),
    [
        ("Intel(R) Xeon(R) CPU E3-1240 V2 @ 3.40GHz", 69.0),
        ("Intel(R) Xeon(R) CPU E5-2620 v3 @ 2.40GHz", 85.0),
        ("AMD EPYC 8024P 8-Core Processor", 90.0),
        ("AMD EPYC 9554 64-Core Processor", 360.0),
        ("12th Gen Intel(R) Core(TM) i7-12700K", 190.0),
        ("INTEL(R) XEON(R) PLATINUM 8592+", 350.0),
        ("Intel(R) Xeon(R) Platinum 8480+", 350.0),
        ("Intel(R) Xeon(R) Gold 6248R CPU @ 3.00GHz", 205.0),
        ("AMD Ryzen Threadripper PRO 5995WX 64-Cores", 280.0),
        ("AMD Ryzen 7 7735U with Radeon Graphics", 28.0),
    ],
)
def test_a_model_is_found_by_the_name_that_the_cpu_tells(table: TdpTable, model: str, tdp_w: float) -> None:
    found = table.find(model)
    assert found is not None
    assert found.tdp_w == tdp_w


@pytest.mark.parametrize(
    "model",
    [
        "",
        "Intel(R) Xeon(R) Processor @ 2.50GHz",  # a hypervisor that hides the model
        "Intel(R) Xeon(R) CPU E3-1240 V9 @ 3.40GHz",  # never the nearest neighbour
        "QEMU Virtual CPU version 2.5+",
        "Common KVM processor",
        "AMD EPYC-Milan Processor",
        "Neoverse-N1",
    ],
)
def test_an_unknown_model_is_not_given_a_neighbours_tdp(table: TdpTable, model: str) -> None:
    assert table.find(model) is None


def test_word_order_and_brand_words_do_not_matter_but_the_number_does() -> None:
    table = TdpTable([("Acme Server 7763X", 280.0)])
    assert table.find("7763X Acme Turbo") is not None
    assert table.find("Acme Server 7763") is None
    assert table.find("Other 7763X") is None


def test_a_name_that_fits_models_of_different_power_is_unknown() -> None:
    rows = [("Acme 7763X Desktop", 65.0), ("Acme 7763X Server", 280.0)]
    assert TdpTable(rows).find("Acme 7763X") is None


def test_the_table_is_read_without_loading_the_package_it_belongs_to() -> None:
    import subprocess  # noqa: PLC0415 - only here
    import sys  # noqa: PLC0415

    code = (
        "import sys; from agent.sources.tdp import codecarbon_table; assert len(codecarbon_table()) > 4000;"
        "sys.exit(any(m in sys.modules for m in ('codecarbon', 'pandas', 'rapidfuzz')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_without_a_number_are_left_out_and_a_missing_file_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "cpu_power.csv"
    path.write_text("Name,TDP\nAcme 1000,65\nAcme 2000,\nAcme 3000,n/a\nAcme 4000,nan\nAcme 5000,-5\nAcme 6000\n")
    table = read_table(path)
    assert table is not None
    assert len(table) == 1
    assert read_table(tmp_path / "absent.csv") is None


def test_the_curve_runs_from_idle_to_peak_and_is_clamped() -> None:
    assert estimate_cpu_power_w(0.0, 100.0) == pytest.approx(100 * IDLE_SHARE)
    assert estimate_cpu_power_w(1.0, 100.0) == pytest.approx(100 * PEAK_SHARE)
    assert estimate_cpu_power_w(-1.0, 100.0) == estimate_cpu_power_w(0.0, 100.0)
    assert estimate_cpu_power_w(7.0, 100.0) == estimate_cpu_power_w(1.0, 100.0)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1, 1000))
def test_the_curve_rises_and_is_concave(a: float, b: float, tdp_w: float) -> None:
    low, high = min(a, b), max(a, b)
    p_low, p_high = estimate_cpu_power_w(low, tdp_w), estimate_cpu_power_w(high, tdp_w)
    assert p_low <= p_high
    assert estimate_cpu_power_w((low + high) / 2, tdp_w) >= (p_low + p_high) / 2 - 1e-9 * tdp_w


def test_the_curve_is_the_fit_to_the_recorded_sweeps_and_halves_the_cubics_error() -> None:
    sets = [shares(sweep) for sweep in load_sweeps()]
    ours = next(curve for name, curve in CURVES.items() if name.startswith("joulecar"))

    def mean(name: str) -> float:
        return sum(energy_error(CURVES[name], points) for points in sets) / len(sets)

    own = sum(energy_error(ours, points) for points in sets) / len(sets)
    assert own < 0.21
    assert own < 0.6 * mean(BASELINE)
    assert abs(sum(bias(ours, points) for points in sets) / len(sets)) < 0.02
    assert fit(sets) == (IDLE_SHARE, PEAK_SHARE, 0.85)


def test_a_guest_has_a_share_of_a_servers_modules_and_a_machine_has_whole_ones() -> None:
    assert estimate_memory_power_w(16.0, virtual=True) == pytest.approx(2.5)
    assert estimate_memory_power_w(16.0, virtual=False) == pytest.approx(10.0)
    assert estimate_memory_power_w(1000.0, virtual=False) == pytest.approx(5 * (4 + 3.6 + 6.4))


@given(st.floats(0.1, 20_000), st.floats(0.1, 20_000), st.booleans())
def test_more_memory_never_draws_less(a: float, b: float, virtual: bool) -> None:
    small, large = sorted((a, b))
    power_w = estimate_memory_power_w(small, virtual=virtual)
    assert 0 < power_w <= estimate_memory_power_w(large, virtual=virtual)
