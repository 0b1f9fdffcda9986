"""Who used a GPU, from a driver that samples as an H100's was seen to: every 200 ms, each answer a mean since."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model import ProcessUse
from agent.sources.nvml_binding import Handle, NvmlBinding
from agent.sources.nvml_errors import NOT_FOUND, NvmlFailure
from agent.sources.nvml_processes import ProcessSamples
from tests.fakes.clock import FakeClock

BUCKET_S = 0.2

Bucket = dict[int, int]  # percent of the SMs by process


class SampledDriver(NvmlBinding):
    """A driver of one GPU with a process's use of it in each sample."""

    def __init__(self, clock: FakeClock, buckets: list[Bucket], answers_in_s: float = 0.0) -> None:
        super().__init__()
        self._clock = clock
        self._answers_in_s = answers_in_s
        self._buckets = buckets
        self._begin_s = clock.now().wall_s
        self.asked: list[tuple[int, int]] = []  # samples from and to, of each answer

    def process_samples(self, handle: Handle, since_us: int) -> list[tuple[int, int, int]]:
        self._clock.advance(self._answers_in_s)
        ended = min(len(self._buckets), int((self._clock.now().wall_s - self._begin_s) / BUCKET_S + 1e-6))
        first = next((n for n in range(ended) if self._ends_us(n) > since_us), ended)
        told = self._buckets[first:ended]
        pids = sorted({pid for bucket in told for pid in bucket})
        if not pids:
            raise NvmlFailure(NOT_FOUND, "nvmlDeviceGetProcessUtilization")
        last = {pid: max(n for n in range(first, ended) if pid in self._buckets[n]) for pid in pids}
        # The driver divides by the samples up to the newest that anybody has.
        upto = max(last.values()) + 1
        self.asked.append((first, upto))
        over = upto - first
        return [(pid, round(sum(b.get(pid, 0) for b in told) / over), self._ends_us(last[pid])) for pid in pids]

    def _ends_us(self, n: int) -> int:
        return round((self._begin_s + (n + 1) * BUCKET_S) * 1e6)


BUCKETS = st.lists(
    st.one_of(
        st.just(Bucket()),
        st.integers(1, 99).map(lambda percent: {10: percent}),
        st.integers(1, 99).map(lambda percent: {11: percent}),
        st.just({10: 50, 11: 49}),
    ),
    min_size=20,
    max_size=200,
)


@given(buckets=BUCKETS, every=st.sampled_from((0.3, 1.0, 2.3, 4.7)))
def test_every_process_gets_the_time_that_it_had_however_seldom_one_asks(buckets: list[Bucket], every: float) -> None:
    clock = FakeClock()
    driver = SampledDriver(clock, buckets)
    samples = ProcessSamples(driver, "GPU 0")
    got = {10: 0.0, 11: 0.0}
    answers = 0
    begin = 0
    for _ in range(int((len(buckets) * BUCKET_S + 10.0) / every)):
        clock.advance(every)
        told = samples.told(clock, object())
        if len(driver.asked) > answers:
            answers = len(driver.asked)
            first, upto = driver.asked[-1]
            if answers == 1:
                begin = upto  # the first answer goes back as far as the driver remembers
                continue
            for use in told or ():
                got[use.pid] += use.sm * (upto - first)
    for pid, sm in got.items():
        ran = sum(bucket.get(pid, 0) for bucket in buckets[begin:]) / 100
        assert sm == pytest.approx(ran, abs=0.005 * len(buckets) + 1e-9), "whole percents are what the driver tells"


def test_one_that_ran_only_at_the_beginning_of_a_long_pause_is_told_too() -> None:
    clock = FakeClock()
    driver = SampledDriver(clock, [{10: 80}] * 5 + [{11: 80}] * 5 + [{10: 80}] * 15)
    samples = ProcessSamples(driver, "GPU 0")
    clock.advance(1.0)
    assert samples.told(clock, object()) == (ProcessUse(10, 0.8),)
    clock.advance(4.0)
    assert samples.told(clock, object()) == (ProcessUse(10, 0.6), ProcessUse(11, 0.2))


def test_one_that_a_single_answer_misses_is_looked_for_again_at_once() -> None:
    """An H100 books each of its samples to one process: in a second, another that runs all the time may have none."""
    clock = FakeClock()
    driver = SampledDriver(clock, ([{10: 99}, {11: 99}] * 5 + [{10: 99}] * 5) * 8, answers_in_s=0.002)
    samples = ProcessSamples(driver, "GPU 0")
    told = []
    for _ in range(24):
        clock.advance(1.0)
        told.append(samples.told(clock, object()) or ())
    assert {len(uses) for uses in told} == {1, 2}
    assert len(driver.asked) == 24
    assert sum(use.sm for uses in told for use in uses if use.pid == 11) == pytest.approx(24 * 0.99 / 3, rel=0.02)


def test_within_one_sample_the_last_answer_holds_and_then_nobody_uses_the_gpu() -> None:
    clock = FakeClock()
    driver = SampledDriver(clock, [{10: 80}] * 5)
    samples = ProcessSamples(driver, "GPU 0")
    clock.advance(1.0)
    told = []
    for _ in range(6):
        told.append(samples.told(clock, object()))
        clock.advance(0.25)
    assert told == [(ProcessUse(10, 0.8),)] * 4 + [()] * 2


def test_a_clock_that_is_set_back_hides_no_process() -> None:
    clock = FakeClock()
    driver = SampledDriver(clock, [{10: 80}] * 100)
    samples = ProcessSamples(driver, "GPU 0")
    clock.advance(10.0)
    assert samples.told(clock, object()) == (ProcessUse(10, 0.8),)
    clock.set_wall(clock.now().wall_s - 5.0)
    clock.advance(1.0)
    assert samples.told(clock, object()) == (ProcessUse(10, 0.8),)
