"""Embodied carbon: the SCI's M per second, published figures alone, and a name for all that has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.embodied import S_PER_YEAR, SERVER, embodied_lines, embodied_rates, footprint
from agent.model import Device, DeviceKind
from agent.settings import EmbodiedSettings

FOUR_YEARS = EmbodiedSettings(4 * S_PER_YEAR)
H100 = "NVIDIA H100 80GB HBM3"
CPU = (Device(DeviceKind.CPU, "package-0"), "Xeon")


def gpus(n: int, name: str = H100) -> list[tuple[Device, str]]:
    return [(Device(DeviceKind.GPU, f"GPU-{i}"), name) for i in range(n)]


def g_per_hour(g_per_s: float) -> float:
    return g_per_s * 3600.0


def test_an_hour_of_an_h100_over_four_years_is_4_7_grams() -> None:
    # 164 kg * 1 h / 35,064 h, by hand
    rates = embodied_rates(gpus(1), FOUR_YEARS)
    assert g_per_hour(rates.by_device[gpus(1)[0][0]]) == pytest.approx(4.677, abs=0.001)


def test_eight_h100_and_their_server_over_three_years_are_33_grams_a_gpu_hour() -> None:
    # (5700/8 + 164) kg / 26,298 h = 33.3 g
    rates = embodied_rates([*gpus(8), CPU], EmbodiedSettings(3 * S_PER_YEAR))
    assert g_per_hour(rates.total_g_per_s) / 8 == pytest.approx(33.33, abs=0.01)
    assert rates.missing == ()
    assert len(rates.by_device) == 8, "processors are part of the server"
    assert any("Boavizta" in source for source in rates.sources) and any("PCF" in source for source in rates.sources)


@pytest.mark.parametrize(
    ("name", "kg"),
    [
        (H100, 164.0),
        ("NVIDIA H100", 164.0),
        ("NVIDIA B200", 284.25),
        ("NVIDIA A100-SXM4-40GB", 127.6),
        ("NVIDIA A100-SXM4-80GB", 150.0),
        ("NVIDIA A100 80GB PCIe", 150.0),
    ],
)
def test_published_footprints_by_the_drivers_names(name: str, kg: float) -> None:
    found = footprint(name)
    assert found is not None and found.kgco2e == pytest.approx(kg) and found.source


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 PCIe",
        "NVIDIA H100 NVL",
        "NVIDIA H200",
        "NVIDIA GB200",
        "NVIDIA GH200 480GB",
        "NVIDIA L40S",
        "NVIDIA A10",
        "NVIDIA RTX A1000",
        "AMD Instinct MI300X",
        "",
    ],
)
def test_what_nobody_has_published_has_no_figure_not_that_of_its_neighbour(name: str) -> None:
    assert footprint(name) is None
    rates = embodied_rates(gpus(2, name), FOUR_YEARS)
    assert rates.by_device == {}
    assert rates.missing == ((name,) if name else ("GPU-0", "GPU-1"))


def test_the_configuration_overrides_both_figures() -> None:
    settings = EmbodiedSettings(S_PER_YEAR, gpu_kgco2e=100.0, server_kgco2e=0.0)
    rates = embodied_rates(gpus(2, "NVIDIA L40S"), settings)
    assert list(rates.by_device.values()) == pytest.approx([100_000 / S_PER_YEAR] * 2)
    assert (rates.node_g_per_s, rates.missing) == (0.0, ())


def test_a_server_without_gpus_has_no_published_figure_here() -> None:
    rates = embodied_rates([CPU], FOUR_YEARS)
    assert (rates.node_g_per_s, rates.missing, rates.total_g_per_s) == (0.0, (SERVER,), 0.0)


@pytest.mark.parametrize(("n", "kg"), [(1, 2500.0), (4, 2500.0), (5, 5700.0), (8, 5700.0)])
def test_a_server_is_known_by_how_many_gpus_it_has(n: int, kg: float) -> None:
    assert embodied_rates(gpus(n), FOUR_YEARS).node_g_per_s == pytest.approx(kg * 1000 / (4 * S_PER_YEAR))


def test_off_is_no_rates_and_no_lines() -> None:
    assert embodied_rates(gpus(1, "unknown"), None).missing == ()
    assert embodied_rates(gpus(1), None).total_g_per_s == 0.0
    assert embodied_lines(gpus(1), None) == []


@given(st.floats(0.5, 30), st.floats(0.01, 1), st.floats(0, 1e4), st.floats(0, 1e5), st.integers(1, 16))
def test_over_its_whole_life_and_all_of_it_the_hardware_costs_what_making_it_did(
    years: float, share: float, gpu_kg: float, server_kg: float, n: int
) -> None:
    rates = embodied_rates(gpus(n), EmbodiedSettings(years * S_PER_YEAR, gpu_kg, server_kg, share))
    total_kg = rates.total_g_per_s * years * S_PER_YEAR / 1000.0
    assert total_kg == pytest.approx((n * gpu_kg + server_kg) * share, rel=1e-9)


def test_check_names_what_is_counted_with_its_source_and_what_is_not_with_the_key_to_set() -> None:
    lines = embodied_lines([*gpus(1), (Device(DeviceKind.GPU, "GPU-x"), "NVIDIA L40S")], FOUR_YEARS)
    (known, missing) = lines
    assert known[:2] == ("embodied", True)
    assert "164 kgCO2e, NVIDIA HGX H100 PCF Summary" in known[2] and "over 4 years" in known[2]
    assert missing[:2] == ("NVIDIA L40S", False) and "gpu_kgco2e" in missing[3]


def test_check_of_a_server_without_gpus_says_the_key_of_the_server() -> None:
    ((subject, ok, _, fix),) = embodied_lines([CPU], FOUR_YEARS)
    assert (subject, ok) == (SERVER, False) and "site.embodied.server_kgco2e" in fix


def test_check_tells_the_share_that_is_reserved() -> None:
    line = embodied_lines(gpus(1), EmbodiedSettings(4 * S_PER_YEAR, reserved_share=0.25))[0]
    assert "25% of it reserved" in line[2]
