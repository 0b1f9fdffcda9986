from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import TraceError
from agent.model import Device, DeviceKind, GridIntensity, Instance, Instant, ProcessUse, Reading, RequestSpan
from agent.trace import Tick, TraceEngine, encode_tick, open_trace, read_trace

# The example of the documented format, with its ellipses filled in.
DOCUMENTED = """{"mono_s": 12.0, "wall_s": 1790000012.0,
 "readings": [{"device": "GPU-1", "kind": "gpu", "name": "NVIDIA H100", "energy_j": 1234.5, "wraps_at_j": null,
               "power_w": 350.0, "max_power_w": 700, "processes": [{"pid": 10, "sm": 0.7}]},
              {"device": "package-0", "kind": "cpu", "error": "permission denied"}],
 "engines": [{"engine": "vllm-a", "page": "up 1\\n"}, {"engine": "vllm-b", "error": "connection refused"}],
 "grid": [{"zone": "DE", "g_per_kwh": 310.0, "valid_from_s": 1790000000, "valid_to_s": 1790003600,
           "provider": "energy_charts", "kind": "actual"}],
 "spans": [{"engine": "vllm-a", "model": "m", "request_id": "r", "trace_id": "t", "start_s": 1790000003.2,
            "end_s": 1790000011.9, "queue_s": 0.1, "prefill_s": 0.3, "decode_s": 8.3, "prompt_tokens": 812,
            "cached_tokens": 640, "generated_tokens": 210}]}""".replace("\n", " ")


def one(text: str) -> Tick:
    (tick,) = read_trace([text])
    return tick


def line(**fields: object) -> str:
    return json.dumps({"mono_s": 1.0, "wall_s": 1000.0, **fields})


def test_the_documented_example_is_read() -> None:
    at = Instant(12.0, 1790000012.0)
    tick = one(DOCUMENTED)
    assert tick.at == at
    assert tick.readings == (
        Reading(
            Device(DeviceKind.GPU, "GPU-1"),
            at,
            energy_j=1234.5,
            power_w=350.0,
            max_power_w=700.0,
            name="NVIDIA H100",
            processes=(ProcessUse(10, 0.7),),
        ),
        Reading(Device(DeviceKind.CPU, "package-0"), at, error="permission denied"),
    )
    assert tick.engines == (
        TraceEngine("vllm-a", at, page="up 1\n"),
        TraceEngine("vllm-b", at, error="connection refused", not_serving=True),
    )
    assert tick.grid == (
        GridIntensity("DE", 310.0, "energy_charts", valid_from_s=1790000000.0, valid_to_s=1790003600.0),
    )
    assert tick.spans[0].generated_tokens == 210


def test_what_is_absent_was_not_read() -> None:
    assert one(line()) == Tick(Instant(1.0, 1000.0))
    (reading,) = one(line(readings=[{"device": "GPU-1", "kind": "gpu"}])).readings
    assert (reading.energy_j, reading.power_w, reading.processes, reading.error) == (None, None, None, None)


def test_a_device_and_an_engine_may_say_when_they_were_read_themselves() -> None:
    tick = one(
        line(
            readings=[{"device": "GPU-1", "kind": "gpu", "mono_s": 0.75, "index": 3, "estimated": True}],
            engines=[{"engine": "a", "page": "", "mono_s": 0.5, "cpu_s": 7.5}],
        )
    )
    assert tick.readings[0].at == Instant(0.75, 999.75)
    assert (tick.readings[0].index, tick.readings[0].estimated) == (3, True)
    assert tick.engines == (TraceEngine("a", Instant(0.5, 999.5), page="", cpu_s=7.5),)


@pytest.mark.parametrize(
    ("entry", "not_serving"),
    [
        ({"error": "connection refused"}, True),
        ({"error": "Connection refused by 127.0.0.1"}, True),
        ({"error": "http 503: loading model"}, True),
        ({"error": "http 401"}, False),
        ({"error": "timed out"}, False),
        ({"error": "http 503", "not_serving": False}, False),
        ({"error": "no route", "not_serving": True}, True),
        ({"page": ""}, False),
    ],
)
def test_an_engine_that_does_not_serve_is_told_from_one_that_cannot_be_read(
    entry: dict[str, object], not_serving: bool
) -> None:
    (engine,) = one(line(engines=[{"engine": "a", **entry}])).engines
    assert engine.not_serving is not_serving


def test_unknown_keys_and_empty_lines_are_passed_over() -> None:
    later = line(comment="new", readings=[{"device": "d", "kind": "gpu", "temperature_c": 60}], version=9)
    ticks = list(read_trace(["\ufeff" + line(), "", "   \n", later + "\r\n"]))
    assert len(ticks) == 2
    assert ticks[1].readings[0].device.key == "d"


GPU = {"device": "GPU-1", "kind": "gpu"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"mono_s": 1.0, "wall_s"', "not JSON"),
        ("[]", "a tick is a JSON object"),
        ("null", "a tick is a JSON object"),
        ("[" * 100_000, "not JSON"),
        ('{"mono_s": ' + "9" * 5000 + ', "wall_s": 1}', "not JSON"),
        ('{"wall_s": 1.0}', "mono_s is missing"),
        ('{"mono_s": 1.0}', "wall_s is missing"),
        ('{"mono_s": null, "wall_s": 1.0}', "mono_s is missing"),
        ('{"mono_s": NaN, "wall_s": 1.0}', "NaN is not a number"),
        ('{"mono_s": Infinity, "wall_s": 1.0}', "Infinity is not a number"),
        ('{"mono_s": 1e999, "wall_s": 1.0}', "mono_s is inf, too large"),
        ('{"mono_s": -1.0, "wall_s": 1.0}', "mono_s is -1.0, below 0"),
        ('{"mono_s": "1", "wall_s": 1.0}', 'mono_s is "1", not a number'),
        ('{"mono_s": true, "wall_s": 1.0}', "mono_s is true, not a number"),
        ('{"mono_s": 1, "wall_s": -1e999}', "wall_s is -inf"),
        ('{"mono_s": [1], "wall_s": 1.0}', "mono_s is a list, not a number"),
        (line(readings={}), "readings is not a list"),
        (line(readings=[1]), "readings[0] is not an object"),
        (line(readings=[GPU, GPU]), "readings[1]: gpu GPU-1 is there twice"),
        (line(readings=[{"device": "x", "kind": "tpu"}]), "kind is 'tpu', not one of gpu, cpu, dram, host"),
        (line(readings=[{"device": "x"}]), "readings[0].kind is missing"),
        (line(readings=[{"kind": "gpu"}]), "readings[0].device is missing"),
        (line(readings=[{**GPU, "device": 7}]), "readings[0].device is 7, not a text"),
        (line(readings=[{**GPU, "energy_j": "12"}]), 'readings[0].energy_j is "12", not a number'),
        (line(readings=[{**GPU, "energy_j": -0.5}]), "readings[0].energy_j is -0.5, below 0"),
        (line(readings=[{**GPU, "power_w": False}]), "readings[0].power_w is false, not a number"),
        (line(readings=[{**GPU, "max_power_w": 10**400}]), "readings[0].max_power_w is inf, too large"),
        (line(readings=[{**GPU, "index": 1.5}]), "readings[0].index is 1.5, not a whole number"),
        (line(readings=[{**GPU, "estimated": 1}]), "readings[0].estimated is 1, not true or false"),
        (line(readings=[{**GPU, "processes": [{"sm": 1}]}]), "readings[0].processes[0].pid is missing"),
        (line(readings=[{**GPU, "processes": [{"pid": 1}]}]), "readings[0].processes[0].sm is missing"),
        (line(readings=[{**GPU, "processes": 1}]), "readings[0].processes is not a list"),
        (line(readings=[{**GPU, "mono_s": -1}]), "readings[0].mono_s is -1.0, below 0"),
        (line(engines=[{"engine": "a"}]), "engines[0] has neither a page nor an error"),
        (line(engines=[{"engine": "a", "page": "", "error": "x"}]), "engines[0] has both a page and an error"),
        (line(engines=[{"page": ""}]), "engines[0].engine is missing"),
        (line(engines=[{"engine": "a", "page": 1}]), "engines[0].page is 1, not a text"),
        (line(engines=[{"engine": "a", "page": "", "cpu_s": -1}]), "engines[0].cpu_s is -1.0, below 0"),
        (line(grid=[{"zone": "DE"}]), "grid[0].g_per_kwh is missing"),
        (line(grid=[{"g_per_kwh": 1}]), "grid[0].zone is missing"),
        (line(grid=[{"zone": "DE", "g_per_kwh": -1}]), "grid[0].g_per_kwh is -1.0, below 0"),
        (line(spans=["x"]), "spans[0] is not an object"),
        (line(spans=[{"request_id": 5}]), "spans[0].request_id is 5, not a text"),
        (line(spans=[{"prompt_tokens": "5"}]), 'spans[0].prompt_tokens is "5", not a number'),
    ],
)
def test_a_bad_line_is_one_error_with_its_number_and_what_is_wrong(text: str, reason: str) -> None:
    ticks = read_trace([line(), "", text])
    assert next(ticks).at.mono_s == 1.0
    with pytest.raises(TraceError) as raised:
        next(ticks)
    assert raised.value.line == 3
    assert reason in str(raised.value)
    assert len(str(raised.value)) < 200


def test_time_may_stand_still_but_not_go_back() -> None:
    ticks = read_trace(['{"mono_s": 5, "wall_s": 9}', '{"mono_s": 5, "wall_s": 3}', '{"mono_s": 4.9, "wall_s": 9}'])
    assert [next(ticks).at, next(ticks).at] == [Instant(5.0, 9.0), Instant(5.0, 3.0)]
    with pytest.raises(TraceError, match=r"line 3: mono_s goes back from 5\.0 to 4\.9"):
        next(ticks)


@pytest.mark.parametrize("name", ["trace.jsonl", "trace.jsonl.gz"])
def test_a_trace_is_read_from_a_file_plain_or_compressed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = (DOCUMENTED + "\n").encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with open_trace(path) as lines:
        assert [tick.at.mono_s for tick in read_trace(lines)] == [12.0]


def test_a_compressed_file_that_is_cut_off_is_an_error_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl.gz"
    path.write_bytes(gzip.compress((line() + "\n").encode() * 5000)[:-30])
    with open_trace(path) as lines, pytest.raises(TraceError, match="compressed file is damaged"):
        list(read_trace(lines))


def test_a_file_that_is_not_compressed_in_spite_of_its_name_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "trace.gz"
    path.write_text(line())
    with open_trace(path) as lines, pytest.raises(TraceError, match="line 1: the compressed file is damaged"):
        list(read_trace(lines))


def test_bytes_that_are_no_text_are_an_error_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(line().encode() + b'\n{"mono_s": 2, "wall_s": 2, "x": "\xff"}\n')
    with open_trace(path) as lines, pytest.raises(TraceError, match="line 2: not UTF-8 text"):
        list(read_trace(lines))


def test_ticks_come_one_at_a_time_before_the_rest_is_read() -> None:
    ticks = read_trace(iter([line(), "broken"]))
    assert next(ticks).at.mono_s == 1.0


def test_a_value_that_is_no_number_is_not_written() -> None:
    at = Instant(1.0, 2.0)
    reading = Reading(Device(DeviceKind.GPU, "g"), at, energy_j=math.nan, power_w=math.inf, max_power_w=-1.0)
    (back,) = one(encode_tick(Tick(at, (reading,)))).readings
    assert back == Reading(Device(DeviceKind.GPU, "g"), at)


# -- whatever is written comes back to the last bit ---------------------------------------------------------------

amounts = st.floats(0, allow_nan=False, allow_infinity=False)
walls = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=12)
pages = st.text(max_size=200)
instants = st.builds(Instant, amounts, walls)
pids_ = st.lists(st.integers(0, 2**22), max_size=5).map(tuple)


def maybe(values: st.SearchStrategy[float]) -> st.SearchStrategy[float | None]:
    return st.none() | values


readings_ = st.builds(
    Reading,
    device=st.builds(Device, st.sampled_from(DeviceKind), texts),
    at=instants,
    energy_j=maybe(amounts),
    wraps_at_j=maybe(amounts),
    power_w=maybe(amounts),
    max_power_w=maybe(amounts),
    estimated=st.booleans(),
    name=texts,
    index=st.none() | st.integers(0, 1000),
    processes=st.none() | st.lists(st.builds(ProcessUse, st.integers(0, 2**31), amounts), max_size=3).map(tuple),
    instances=st.lists(st.builds(Instance, texts, amounts, amounts, maybe(amounts), st.none() | pids_), max_size=3).map(
        tuple
    ),
    residents=st.none() | pids_,
    error=st.none() | texts,
)
engines_ = st.one_of(
    st.builds(TraceEngine, texts, instants, page=pages, not_serving=st.booleans(), cpu_s=maybe(amounts)),
    st.builds(TraceEngine, texts, instants, error=texts, not_serving=st.booleans(), cpu_s=maybe(amounts)),
    st.builds(TraceEngine, texts, instants, error=st.just("connection refused"), not_serving=st.booleans()),
    st.builds(TraceEngine, texts, instants, cpu_s=amounts),
    st.builds(TraceEngine, texts, instants, pids=pids_),
)
grids_ = st.builds(
    GridIntensity,
    zone=texts,
    g_per_kwh=amounts,
    provider=texts,
    signal=texts,
    basis=texts,
    kind=texts,
    valid_from_s=walls | st.just(-math.inf),
    valid_to_s=walls | st.just(math.inf),
    fetched_at_s=maybe(walls),
    source=texts,
)
spans_ = st.builds(
    RequestSpan,
    engine=texts,
    start_s=walls,
    end_s=walls,
    model=texts,
    request_id=texts,
    trace_id=texts,
    span_id=texts,
    queue_s=maybe(walls),
    prefill_s=maybe(walls),
    decode_s=maybe(walls),
    prompt_tokens=maybe(walls),
    cached_tokens=maybe(walls),
    generated_tokens=maybe(walls),
    group=st.dictionaries(texts, texts, max_size=2).map(lambda d: tuple(d.items())),
    own=st.booleans(),
    is_request=st.booleans(),
)


@st.composite
def ticks_(draw: st.DrawFn) -> Tick:
    at = draw(instants)
    readings = draw(st.lists(readings_, max_size=4, unique_by=lambda r: r.device))
    engines = draw(st.lists(engines_, max_size=3))
    if draw(st.booleans()):  # as the loop has it when everything is read at the tick itself
        readings = [Reading(r.device, at, r.energy_j, error=r.error) for r in readings]
    grids = draw(st.lists(grids_, max_size=2))
    return Tick(at, tuple(readings), tuple(engines), tuple(grids), tuple(draw(st.lists(spans_, max_size=2))))


@given(ticks_())
def test_whatever_is_written_comes_back_to_the_last_bit(tick: Tick) -> None:
    text = encode_tick(tick)
    assert "\n" not in text
    assert one(text) == tick
    assert encode_tick(one(text)) == text


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda b: b.decode("utf-8", "surrogateescape")))
def test_any_text_is_either_a_tick_or_one_trace_error(text: str) -> None:
    try:
        list(read_trace([text]))
    except TraceError as error:
        assert error.line == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["device", "kind", "energy_j", "engine", "page", "zone", "pid", "processes"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["mono_s", "wall_s", "readings", "engines", "grid", "spans"]), json_values)
def test_any_json_in_any_field_is_either_a_tick_or_one_trace_error(key: str, value: object) -> None:
    try:
        list(read_trace([line(**{key: value})]))
    except TraceError as error:
        assert error.line == 1


@pytest.mark.parametrize("pids", ["7", '"7"', "[-1]", "[1.5]", "[true]", '["7"]'])
def test_process_numbers_that_are_none_are_refused(pids: str) -> None:
    line = '{"mono_s": 1, "wall_s": 2, "engines": [{"engine": "a", "pids": ' + pids + "}]}"
    with pytest.raises(TraceError, match=r"line 1: engines\[0\].pids is not a list of process numbers"):
        list(read_trace([line]))


@pytest.mark.parametrize("there", ["residents", "instances"])
def test_what_holds_memory_is_process_numbers_or_refused(there: str) -> None:
    bad = {
        "residents": '"residents": [-1]',
        "instances": '"instances": [{"uuid": "", "memory_bytes": 1, "residents": 7}]',
    }
    line = '{"mono_s": 1, "wall_s": 2, "readings": [{"device": "g", "kind": "gpu", ' + bad[there] + "}]}"
    with pytest.raises(TraceError, match=r"line 1: readings\[0\].*residents is not a list of process numbers"):
        list(read_trace([line]))
