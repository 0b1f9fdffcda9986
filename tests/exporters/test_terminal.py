"""The table for people, as they see it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from agent.model import Device, DeviceKind, Instant, Ledger, Part, PartHealth, Snapshot, TokenType, Use
from exporters.page import ago, number
from exporters.terminal import MODELS_SHOWN, render
from tests.conftest import Golden
from tests.fakes.snapshots import LLAMA, START, full_snapshot

BEFORE = full_snapshot(1.0)
AFTER = full_snapshot(2.0, at=START.plus(10.0))


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


@pytest.mark.parametrize("width", [80, 120])
def test_golden_table(golden: Golden, width: int) -> None:
    golden.check(f"table-{width}.txt", render(AFTER, BEFORE, colour=False, width=width))


def test_golden_table_of_a_simulation_since_the_start(golden: Golden) -> None:
    golden.check("table-simulated.txt", render(AFTER, None, colour=False, width=80, simulated=True))


def test_golden_table_of_nothing(golden: Golden) -> None:
    golden.check("table-empty.txt", render(Snapshot(START), None, colour=False, width=80))


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("simulated", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, simulated: bool) -> None:
    text = render(AFTER, BEFORE, colour=True, width=width, simulated=simulated)
    assert max(len(plain(line)) for line in text.splitlines()) <= width


def test_colour_changes_no_character() -> None:
    coloured = render(AFTER, BEFORE, colour=True, width=80)
    assert coloured != plain(coloured)
    without = render(AFTER, BEFORE, colour=False, width=80)
    assert [line.rstrip() for line in plain(coloured).splitlines()] == without.splitlines()


def test_rates_are_those_of_the_window() -> None:
    text = render(AFTER, BEFORE, colour=False, width=120)
    row = next(line for line in text.splitlines() if line.startswith(f"    {LLAMA}"))
    # 12,340 generated, 45,670 computed, 8,900 cached in 10 s; 5,430.5 J; 48 requests.
    assert row.split()[1:5] == ["1,234", "4,567", "890", "2.27"]
    assert row.split()[5] == "113"


def test_without_a_window_there_are_totals_and_no_rates() -> None:
    text = render(AFTER, None, colour=False, width=120)
    row = next(line for line in text.splitlines() if line.startswith(f"    {LLAMA}"))
    assert "since the start" in text
    assert row.split()[1:5] == ["-", "-", "-", "2.27"]


def test_every_device_says_how_it_is_known_and_a_simulation_says_so() -> None:
    for simulated in (False, True):
        text = render(AFTER, BEFORE, colour=False, width=120, simulated=simulated)
        rows = [line for line in text.splitlines() if line.startswith(("  gpu", "  cpu", "  dram"))]
        assert [row.split()[-1] for row in rows] == ["counter", "integrated", "estimated", "estimated"]
        assert all(("simulated" in row) == simulated for row in rows)
        headings = [line for line in text.splitlines() if line.startswith(("DEVICE", "MODEL", "JOULES", "GRID"))]
        assert [("simulated" in heading) for heading in headings] == [simulated] * 4


def test_shares_add_up_to_all_that_was_booked() -> None:
    text = render(AFTER, BEFORE, colour=False, width=120)
    shares = [float(found) for found in re.findall(r"([\d.]+)%", text)]
    assert sum(shares) == pytest.approx(100.0, abs=0.5)


def test_a_sum_that_lacks_a_device_is_a_lower_bound() -> None:
    assert re.search(r"sum +>644 ", render(AFTER, BEFORE, colour=False, width=80))
    known = replace(AFTER, devices=tuple(d for d in AFTER.devices if d.power_w is not None))
    assert re.search(r"sum +644 ", render(known, BEFORE, colour=False, width=80))


def test_a_device_that_left_is_shown_with_its_energy() -> None:
    gone = Device(DeviceKind.GPU, "GPU-left")
    ledger = replace(AFTER.ledger, device_energy_j={**AFTER.ledger.device_energy_j, gone: 321.0})
    text = render(replace(AFTER, ledger=ledger), BEFORE, colour=False, width=80)
    assert re.search(r"gpu +GPU-left +- +321  gone now", text)


def test_a_part_that_is_down_says_why_and_what_to_do() -> None:
    down = PartHealth(Part.SOURCE, "rapl", False, message="energy_uj: permission denied", fix="chmod " * 30)
    text = render(Snapshot(START, parts=(down,)), None, colour=False, width=80)
    assert "DOWN  source rapl: energy_uj: permission denied\n      fix: chmod" in text


def test_names_from_the_network_cannot_steer_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\n"
    key = ("e" + evil, evil, Use.DECODE, DeviceKind.GPU)
    down = PartHealth(Part.ENGINE, evil, False, message=evil, fix=evil)
    s = Snapshot(START, ledger=Ledger(energy_j={key: 1.0}), parts=(down,))
    text = render(s, None, colour=False, width=80)
    assert "\x1b" not in text
    assert "\x07" not in text


def test_many_models_are_folded_and_none_of_their_joules_is_hidden() -> None:
    energy_j = {("e", f"model-{i:03}", Use.DECODE, DeviceKind.GPU): 10.0 + i for i in range(MODELS_SHOWN + 8)}
    text = render(Snapshot(START, ledger=Ledger(energy_j=energy_j)), None, colour=False, width=80)
    assert "and 8 more models" in text
    assert re.search(r"8 more models +all uses +108 ", text)
    assert "model-019" in text
    assert "model-000" not in text


def test_tokens_without_energy_give_no_ratio() -> None:
    s = Snapshot(START, ledger=Ledger(tokens={("e", "m", TokenType.GENERATED): 5.0}))
    row = next(line for line in render(s, None, colour=False, width=80).splitlines() if line.startswith("    m "))
    assert row.split() == ["m", "-", "-", "-", "-", "-", "-"]


def test_a_window_of_no_time_has_no_rates() -> None:
    at_once = replace(AFTER, at=Instant(START.mono_s, START.wall_s))
    assert "inf" not in render(at_once, BEFORE, colour=False, width=80)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.00034, "0.00034"),
        (0.05, "0.05"),
        (0.5, "0.5"),
        (0.123456, "0.123"),
        (1.0, "1.00"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.94, "99.9"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (99_999_499.0, "99,999,499"),
        (123_456_789.0, "123M"),
        (-5.25, "-5.25"),
    ],
)
def test_number(value: float | None, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(("seconds", "said"), [(-3, "0 s"), (119, "119 s"), (240, "4 min"), (90_000, "25.0 h")])
def test_ago(seconds: float, said: str) -> None:
    assert ago(seconds) == said
