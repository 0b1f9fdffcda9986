"""A recorded year of hourly intensity through the whole pipeline: trace in, grams out, nothing in between left out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from agent.accounts import Rules
from agent.books import Policy
from agent.grids.history import HOUR_S
from agent.model import Device, DeviceKind, Instant, Ledger, Reading
from agent.pricing import Site
from agent.replay import replay
from agent.trace import Tick, encode_tick, read_trace
from tests.grid_years import START_S, Year, load_year

GPU = Device(DeviceKind.GPU, "GPU-0")
TZ_H = -8  # Pacific Standard Time


def power_w(hour: int) -> float:
    """A service that is busy from 19 to 1 o'clock, local time."""
    local = datetime.fromtimestamp(START_S + (hour + TZ_H) * HOUR_S, UTC).hour
    return 600.0 if local >= 19 or local < 1 else 0.5


def year_of(year: Year) -> Iterator[str]:
    """One tick an hour, as a trace has it; the hour's intensity is told when it is over."""
    energy_j = 0.0
    for hour, told in enumerate(year.told):
        at = Instant(hour * HOUR_S, START_S + hour * HOUR_S)
        reading = Reading(GPU, at, energy_j=energy_j, max_power_w=700.0)
        yield encode_tick(Tick(at, (reading,), grid=() if told is None else (told,)))
        energy_j += power_w(hour) * HOUR_S


def replayed(year: Year, policy: Policy) -> Ledger:
    (last,) = deque(replay(read_trace(year_of(year)), policy, {}), maxlen=1)
    return last.books.ledger


@pytest.mark.timeout(60)
def test_a_year_gives_the_sum_of_its_hours_and_not_its_mean() -> None:
    year = load_year("CISO")
    # Booked by the hour, and priced at the hour in which it flowed: a joule needs its own hour's value.
    ledger = replayed(year, Policy(rules=Rules(window_s=HOUR_S), site=Site(pue=1.1)))
    hours = [(power_w(h), g) for h, g in enumerate(year.g_per_kwh[:-1])]
    truth_g = 1.1 * math.fsum(w * HOUR_S / 3.6e6 * g for w, g in hours if g is not None)
    unpriced_j = math.fsum(w * HOUR_S for w, g in hours if g is None)
    grams = math.fsum(ledger.facility_gco2e.values())
    assert math.fsum(ledger.device_energy_j.values()) == pytest.approx(math.fsum(w * HOUR_S for w, _ in hours))
    assert ledger.unpriced_j == pytest.approx(unpriced_j)
    assert grams == pytest.approx(truth_g, rel=1e-9)
    priced_kwh = (math.fsum(ledger.device_energy_j.values()) - unpriced_j) / 3.6e6
    assert 1.15 < grams / (1.1 * priced_kwh * year.mean) < 1.25, "an evening load meets the dirtier hours"
