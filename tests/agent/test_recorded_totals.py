"""Every file of a recording, alone and without any configuration, ends with the totals of the run that wrote it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import pytest

from agent import books, remember
from agent.accounts import Rules
from agent.books import Books, Policy
from agent.clock import SystemClock
from agent.commands.compare import compare
from agent.commands.replay import final, shown
from agent.demo.simulated import simulated_trace
from agent.errors import JoulecarError
from agent.health import Health
from agent.model import GridIntensity, RequestEnergy, RequestSpan, Snapshot
from agent.opening import Kept, Opening, opening_of
from agent.pricing import Site
from agent.recorder import Recorder, numbered
from agent.remember import Identity
from agent.replay import observed
from agent.requests import RequestRules
from agent.settings import EngineSettings, RecordSettings, Settings
from agent.trace import Tick, encode_tick, open_trace, read_trace

HERE = Identity("boot-1", "550.1")
TICKS = 300
ENGINE = "simulated-vllm"
SECRET = "acme/secret-7B"


def named(tick: Tick) -> Tick:
    """With a model whose name is a secret, and two requests a second, each told again 20 s later."""
    pages = [None if e.page is None else re.sub(r'model_name="[^"]*"', f'model_name="{SECRET}"', e.page)
             for e in tick.engines]  # fmt: skip
    engines = tuple(replace(e, page=page) for e, page in zip(tick.engines, pages, strict=True))
    now_s = tick.at.wall_s
    spans = tuple(
        RequestSpan(
            ENGINE, now_s - age_s - 3.0, now_s - age_s, model=SECRET, trace_id=f"{now_s - age_s}", span_id=f"{k}",
            queue_s=0.1, prefill_s=0.4, decode_s=2.5, prompt_tokens=300.0, cached_tokens=0.0,
            generated_tokens=50.0 + k, group=(("tenant.id", f"{SECRET}-{(now_s + k) % 3:.0f}"),),
        )
        for age_s in (0.5, 20.5) for k in range(2)
    )  # fmt: skip
    return replace(tick, engines=engines, spans=spans)


@lru_cache(maxsize=1)
def ticks() -> tuple[Tick, ...]:
    """The beginning of the bundled trace: two GPUs, a vLLM."""
    return tuple(named(tick) for tick in islice(read_trace(simulated_trace()), TICKS))


POLICY = Policy(
    Rules(engines={ENGINE: None}),
    Site(pue=1.3, node_overhead_w=40.0, wue_l_per_kwh=0.4),
    requests=RequestRules(group_by=("tenant.id",)),
)
KEPT = Kept(POLICY, (EngineSettings(ENGINE, "http://10.1.2.3:8000"),), "1.2.3")


def live(path: Path, settings: RecordSettings, *, opened: Books | None = None, first: int = 0) -> Snapshot:
    """The end of a run that recorded what it saw."""
    recorder = Recorder(path, Health(), settings, KEPT)
    state = opened or books.begin(ticks()[first].at, POLICY)
    grid: tuple[GridIntensity, ...] = ()
    for told in ticks()[first:]:
        grid = told.grid or grid  # a live agent knows at every tick what it was told
        tick = replace(told, grid=grid)
        recorder(tick, state)
        state = books.tick(state, observed(tick, {}, tick.grid), POLICY)
    recorder.close()
    return books.snapshot(books.finish(state, POLICY), POLICY)


def totals(snapshot: Snapshot) -> dict[str, str]:
    """The exported samples, digit by digit; those of windows begin anew with each file."""
    page = shown(snapshot, "prometheus")
    return {
        series: value
        for line in page.splitlines()
        if not line.startswith("#") and 'window="' not in line
        for series, value in [line.rsplit(" ", 1)]
    }


def opening(path: Path) -> Opening:
    with open_trace(path) as lines:
        first = next(read_trace(lines))
    assert first.opening is not None
    return opening_of(first.opening)


def replayed(path: Path) -> dict[str, str]:
    return totals(final([path], Settings(), SystemClock(), as_recorded=True).snapshot())


@pytest.mark.parametrize("name", ["day.jsonl", "day.jsonl.gz"])
def test_each_file_of_a_rotation_that_is_kept_ends_where_the_run_did(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    snapshot = live(path, RecordSettings(max_bytes=150_000 if name == "day.jsonl" else 20_000, keep=3))
    files = [numbered(path, 2), numbered(path, 1), path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert replayed(path) == totals(snapshot)
    whole = totals(snapshot)
    assert sum('use="decode"' in series for series in whole) >= 3
    assert sum(float(v) for s, v in whole.items() if "request_spans" in s and "duplicate" in s) > 400
    # An older file ends where the next begins, but for what waits at its end.
    told = [sum(float(v) for s, v in replayed(f).items() if s.startswith("joulecar_device_energy")) for f in files]
    assert told == sorted(told) and told[0] < told[1] < told[2]


def test_a_run_that_went_on_from_an_earlier_one_is_replayed_with_all_its_totals(tmp_path: Path) -> None:
    state = books.begin(ticks()[0].at, POLICY)
    for tick in ticks()[:120]:
        state = books.tick(state, observed(tick, {}, tick.grid), POLICY)
    memory = remember.memory_of(state, HERE)
    now = ticks()[150].at
    opened = remember.resume(state.ledger, memory, now, HERE, POLICY)
    snapshot = live(tmp_path / "day.jsonl", RecordSettings(), opened=opened, first=150)
    assert replayed(tmp_path / "day.jsonl") == totals(snapshot)
    assert sum(snapshot.ledger.device_energy_j.values()) > sum(state.ledger.device_energy_j.values()) > 0


def test_a_recording_without_names_has_the_same_totals_and_no_name(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    snapshot = live(path, RecordSettings(max_bytes=150_000, keep=2, redact=True))
    assert "acme" not in path.read_text() + numbered(path, 1).read_text()
    found, told = replayed(path), totals(snapshot)
    names = dict(re.findall(r'(?:model|tenant_id)="(model-\d+)"()', "\n".join(found)))
    assert len(names) == 4, "one model, three tenants"
    assert sorted(found.values()) == sorted(told.values())
    redacted = {re.sub(r'="(acme[^"]*|model-\d+)"', '="?"', s) for s in (*found, *told)}
    assert redacted == {re.sub(r'="acme[^"]*"', '="?"', s) for s in told}


def test_files_one_after_the_other_in_one_count_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    snapshot = live(path, RecordSettings(max_bytes=150_000, keep=3))
    both = tmp_path / "both.jsonl"
    both.write_text(numbered(path, 1).read_text() + path.read_text())
    assert replayed(both) == totals(snapshot)


@pytest.mark.parametrize("redact", [False, True])
def test_the_files_of_a_recording_together_are_one_trace(tmp_path: Path, redact: bool) -> None:
    """Given in any order. Their requests are those of all of them, each once, and their time is all of it."""
    path = tmp_path / "day.jsonl"
    snapshot = live(path, RecordSettings(max_bytes=150_000, keep=9, redact=redact))
    files = sorted(tmp_path.iterdir())
    assert len(files) > 3
    found: list[RequestEnergy] = []
    empty = tmp_path / "empty.jsonl"  # the last one of a run that ended right after it had begun it
    empty.touch()
    last = final([empty, *files], Settings(), SystemClock(), as_recorded=True, found=found.append)
    told = totals(snapshot)
    assert last.ticks == len(ticks())
    assert sorted(totals(last.snapshot()).values()) == sorted(told.values())
    assert redact or totals(last.snapshot()) == told
    counted = sum(float(v) for s, v in told.items() if s.startswith("joulecar_request_energy_joules_count"))
    assert len(found) == counted > 0
    text = compare(files, "weights=0.12", Settings(), SystemClock(), as_recorded=True)
    booked_j = sum(snapshot.ledger.energy_j.values())
    assert float(text.split("\nsum", 1)[1].split()[0].replace(",", "")) == pytest.approx(booked_j, abs=0.1)


def test_files_that_do_not_follow_each_other_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    live(path, RecordSettings(max_bytes=150_000, keep=9))
    oldest, older, old = (numbered(path, n) for n in (3, 2, 1))
    bare = tmp_path / "bare.jsonl"
    first, *rest = old.read_text().splitlines(keepends=True)
    bare.write_text(json.dumps({k: v for k, v in json.loads(first).items() if k != "opening"}) + "\n" + "".join(rest))
    for files, wrong, before, why in (
        ((old, oldest), old, oldest, "it goes on from"),  # one between them is missing
        ((older, older), older, older, "it is given twice"),
        ((older, bare), bare, older, "what went before it is not told there"),
    ):
        with pytest.raises(JoulecarError, match="with none left out") as refused:
            final(files, Settings(), SystemClock(), as_recorded=True)
        assert str(refused.value).startswith(f"{wrong} does not follow {before}: {why}")


def test_files_of_two_runs_are_refused_though_the_second_goes_on_from_the_first(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    live(path, RecordSettings())
    end = opening(path).books
    assert end is not None
    state = end
    for tick in ticks()[:100]:
        state = books.tick(state, observed(tick, {}, tick.grid), POLICY)
    cut = tmp_path / "first.jsonl"
    cut.write_text("".join(path.read_text().splitlines(keepends=True)[:100]))
    live(path, RecordSettings(keep=1), opened=state, first=100)
    with pytest.raises(JoulecarError, match="it is of another run"):
        final([cut, path], Settings(), SystemClock(), as_recorded=True)


def test_a_comparison_is_of_the_time_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    live(path, RecordSettings(max_bytes=150_000, keep=3))

    def sum_j(file: Path) -> float:
        text = compare([file], "weights=0.12", Settings(), SystemClock(), as_recorded=True)
        return float(text.split("\nsum", 1)[1].split()[0].replace(",", ""))

    opened = opening(path).books
    assert opened is not None
    after = final([path], Settings(), SystemClock(), as_recorded=True).snapshot()
    booked_j = sum(after.ledger.energy_j.values()) - sum(opened.ledger.energy_j.values())
    assert sum_j(path) == pytest.approx(booked_j, abs=0.1)
    assert booked_j < 0.9 * sum(after.ledger.energy_j.values())


def test_an_opening_of_another_version_costs_what_cannot_be_read_and_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "day.jsonl"
    live(path, RecordSettings())
    lines = path.read_text().splitlines()
    first = json.loads(lines[0])
    first["opening"]["books"]["ledger"] = [1, 2]
    first["opening"]["policy"]["later"] = {"than": "this version"}
    path.write_text("\n".join([json.dumps(first), *lines[1:]]))
    found = replayed(path)
    assert "opening.books: .ledger is no Ledger; written by version 1.2.3" in capsys.readouterr().err
    assert found["joulecar_pue"] == "1.3"
    assert any(float(v) > 0 for s, v in found.items() if s.startswith("joulecar_energy_joules_total"))


def test_no_address_is_in_an_opening_and_its_size_is_sane(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    live(path, RecordSettings(max_bytes=150_000, keep=2))
    line = path.read_text().splitlines()[0]
    assert "10.1.2.3" not in line
    assert opening(path).problems == ()
    size = len(line) - len(encode_tick(replace(next(read_trace([line])), opening=None)))
    assert 2_000 < size < 100_000, size
