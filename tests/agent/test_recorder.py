"""Recordings that rotate, and recordings without names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent import books
from agent.books import Policy
from agent.health import Health
from agent.model import GridIntensity, Instant, RequestSpan
from agent.recorder import Recorder, numbered
from agent.redact import MAX_NAMES, Redactor
from agent.settings import EngineSettings, RecordSettings
from agent.trace import Tick, TraceEngine, open_trace, read_trace

GRID = (GridIntensity("DE", 310.0, "fixed"),)
PAGE = (
    'vllm:generation_tokens_total{engine="0",model_name="acme/secret \\"7B\\""} 5.0\n'
    'vllm:lora_requests_info{max_lora="2",running_lora_adapters="acme-tone,x",waiting_lora_adapters=""} 1.7e9\n'
)


BEGUN = books.begin(Instant(0.0, 1_790_000_000.0), Policy())


def tick(n: int, page: str = "x" * 20_000) -> Tick:
    at = Instant(float(n), 1_790_000_000.0 + n)
    return Tick(at, engines=(TraceEngine("a", at, page=page),), grid=GRID)


@pytest.mark.parametrize("name", ["day.jsonl", "day.jsonl.gz"])
def test_a_full_file_gives_way_and_only_so_many_are_kept(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    recorder = Recorder(path, Health(), RecordSettings(max_bytes=50_000 if name == "day.jsonl" else 1_500, keep=3))
    for n in range(40):
        recorder(tick(n), BEGUN)
    recorder.close()
    files = [numbered(path, 2), numbered(path, 1), path]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    seen: list[float] = []
    for file in files:
        with open_trace(file) as lines:
            ticks = list(read_trace(lines))
        if ticks:
            assert ticks[0].grid == GRID  # each can be replayed alone
        seen += [t.at.mono_s for t in ticks]
    assert seen == [float(n) for n in range(40 - len(seen), 40)]
    assert len(seen) >= 3


def test_names_are_redacted_alike_wherever_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    recorder = Recorder(path, Health(), RecordSettings(redact=True))
    span = RequestSpan("a", 1.0, 2.0, model="acme-tone,x", request_id="r", group=(("tenant.id", "acme"),))
    at = Instant(0.0, 1_790_000_000.0)
    engines = (TraceEngine("a", at, page=PAGE), TraceEngine("b", at, error="down"))
    recorder(Tick(at, engines=engines, spans=(span,)), BEGUN)
    recorder.close()
    text = path.read_text()
    assert "acme" not in text
    with open_trace(path) as lines:
        (found,) = read_trace(lines)
    assert found.engines[0].page == (
        'vllm:generation_tokens_total{engine="0",model_name="model-1"} 5.0\n'
        'vllm:lora_requests_info{max_lora="2",running_lora_adapters="model-2",waiting_lora_adapters=""} 1.7e9\n'
    )
    assert found.spans[0].model == "model-2" and found.spans[0].group == (("tenant.id", "model-3"),)


def test_names_within_other_texts_are_redacted_too_and_nothing_else_is_touched() -> None:
    page = (
        "# HELP vllm:x of /models/acme/secret-7B\n# TYPE vllm:prompt_tokens counter\n"
        'vllm:x{path="/models/acme/secret-7B",finished_reason="stop",model_name="acme/secret-7B"} 0.75\n'
        'vllm:x{model_name="stop",path="0.75"} 1\nvllm:prompt_tokens{model_name="prompt_tokens"} 2\n'
        'vllm:x{model_name="0.75",le="0.75"} 3\n'
    )
    at = Instant(0.0, 1_790_000_000.0)
    engines = (
        TraceEngine("a", at, page=page),
        TraceEngine("b", at, error="no page at /v1/own-model of acme/secret-7B"),
    )
    redacted = Redactor((EngineSettings("c", "", model="own-model"),))(Tick(at, engines=engines)).engines
    assert redacted[0].page == (
        "# HELP vllm:x of /models/model-2\n# TYPE vllm:prompt_tokens counter\n"
        'vllm:x{path="/models/model-2",finished_reason="stop",model_name="model-2"} 0.75\n'
        'vllm:x{model_name="model-3",path="0.75"} 1\nvllm:prompt_tokens{model_name="model-4"} 2\n'
        'vllm:x{model_name="model-5",le="0.75"} 3\n'
    )
    assert redacted[1].error == "no page at /v1/model-1 of model-2"


def test_made_up_names_fill_no_memory_and_are_still_told_apart() -> None:
    redact = Redactor()
    at = Instant(0.0, 1_790_000_000.0)
    spans = tuple(RequestSpan("a", 1.0, 2.0, model=f"acme-{n}") for n in range(MAX_NAMES + 50))
    first = redact(Tick(at, spans=spans)).spans
    assert redact(Tick(at, spans=spans)).spans == first
    assert len({s.model for s in first}) == len(spans)
    assert not any("acme" in s.model for s in first)
    assert sum(len(v) for v in vars(redact).values() if isinstance(v, dict)) == MAX_NAMES


def test_a_name_is_cut_and_cleaned_before_it_is_redacted_as_the_books_have_it() -> None:
    long = "acme-" + 200 * "x"
    at = Instant(0.0, 1_790_000_000.0)
    page = "".join(f'a{{model_name="{name}"}} 1\n' for name in (long, long[:128], "_other", "b"))
    tick = Tick(at, engines=(TraceEngine("b", at, page=page),), spans=(RequestSpan("b", 1.0, 2.0, model=long),))
    redacted = Redactor((EngineSettings("b", ""),))(tick)
    assert re.findall('"(.*)"', redacted.engines[0].page or "") == ["model-1", "model-1", "_other", "b"]
    assert redacted.spans[0].model == "model-1"


def test_a_file_is_not_of_openings_alone(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "day.jsonl", Health(), RecordSettings(max_bytes=10, keep=3))
    at = Instant(0.0, 1_790_000_000.0)
    for _ in range(12):
        recorder(Tick(at), BEGUN)
    recorder.close()
    assert len((tmp_path / "day.1.jsonl").read_text().splitlines()) > 3


def test_a_file_that_is_there_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "day.jsonl"
    for n in range(3):
        recorder = Recorder(path, Health(), RecordSettings(keep=2))
        recorder(tick(n), BEGUN)
        recorder.close()
    kept = {}
    for file in tmp_path.iterdir():
        with open_trace(file) as lines:
            kept[file.name] = [t.at.mono_s for t in read_trace(lines)]
    assert kept == {"day.jsonl": [2.0], "day.1.jsonl": [1.0]}


def test_nothing_is_redacted_unless_asked_for(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "day.jsonl", Health())
    recorder(tick(0, PAGE), BEGUN)
    recorder.close()
    assert "acme/secret" in (tmp_path / "day.jsonl").read_text()


def test_a_rotation_that_fails_costs_the_recording_and_not_the_measuring(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    health = Health()
    recorder = Recorder(folder / "day.jsonl", health, RecordSettings(max_bytes=10))
    (folder / "day.1.jsonl").mkdir()  # no file can take that place
    for n in range(6):
        recorder(tick(n), BEGUN)
    (part,) = health.states()
    assert not part.up and "day.jsonl" in part.message
    recorder.close()
