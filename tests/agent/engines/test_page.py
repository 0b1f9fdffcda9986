"""Every engine's page gives the right numbers for the right models, and what is wrong with a page is said."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engines.page import MAX_LABEL, read_page
from agent.engines.spec import EngineSpec
from agent.engines.table import ENGINES
from agent.errors import ReadFailed
from agent.model import EngineSample, Instant, Quantity

DATA = Path(__file__).parents[2] / "data" / "engines"
DATA_PARALLEL = ("data_parallel_before.prom.gz", "data_parallel_after.prom.gz")
AT = Instant(10.0, 1_790_000_000.0)
S = Quantity.INFERENCE_S
P, C, K, G, R = (
    Quantity.PROMPT,
    Quantity.PROMPT_COMPUTED,
    Quantity.PROMPT_CACHED,
    Quantity.GENERATED,
    Quantity.REQUESTS,
)


def read(page: bytes | str, kind: str = "auto", model: str = "", **custom: str) -> EngineSample:
    body = page.encode() if isinstance(page, str) else page
    return read_page(body, engine="box", at=AT, kind=kind, model=model, custom=custom)


def made(name: str, kind: str = "auto") -> EngineSample:
    return read((DATA / "made" / name).read_bytes(), kind)


def totals(sample: EngineSample) -> dict[tuple[str, str], float]:
    """Sums over series by model and quantity, or by model and outcome."""
    sums: dict[tuple[str, str], float] = {}
    for key, value in sample.counters.items():
        slot = (key.model, key.outcome if key.quantity is R else key.quantity.value)
        sums[slot] = sums.get(slot, 0.0) + value
    return sums


def of(model: str, numbers: Mapping[Quantity | str, float]) -> dict[tuple[str, str], float]:
    return {(model, q.value if isinstance(q, Quantity) else q): v for q, v in numbers.items()}


LLAMA3 = "meta-llama/Llama-3.1-8B"


@pytest.mark.parametrize(
    ("page", "kind", "model", "expected", "running"),
    [
        # V0 has no rank label and only a hit rate: cached tokens are not known
        ("vllm_0_8_5_v0.prom", "vllm", "opt-125m", {P: 1468, G: 903, "length": 24}, 2),
        # two data-parallel ranks are summed; of the histogram iteration_tokens_total only the count is read: steps
        ("vllm_0_12.prom", "vllm", "m", {P: 1500, K: 500, G: 400, Quantity.STEPS: 261}, 5),
        ("vllm_0_8_5_v1.prom", "vllm", "m", {P: 1500, K: 500, G: 400, Quantity.STEPS: 261}, 5),
        ("aphrodite_0_24.prom", "vllm", "m", {P: 1500, K: 500, G: 400, Quantity.STEPS: 261}, 5),
        # the gauge that Ray writes beside each counter is not added to it
        ("ray_serve_vllm.prom", "vllm", "m", {P: 140, G: 70}, 1),
        ("nim.prom", "vllm", "meta/llama3-8b-instruct", {P: 61, G: 48, "stop": 3}, 1),
        ("dynamo_worker_vllm.prom", "vllm", "qwen", {P: 150, G: 100}, 3),
        # tensor-parallel ranks report the same work, data-parallel ones their own; the counters that the
        # tokenizer books at a request's end are left alone
        (
            "sglang_0_5_23.prom",
            "sglang",
            LLAMA3,
            {C: 890, K: 128, G: 430, "finished": 9, "abort": 1, S: 7.5},
            5,
        ),
        ("sglang_0_4_6.prom", "sglang", LLAMA3, {P: 1000, K: 128, G: 400, "finished": 9, "abort": 1}, 3),
        ("tgi_3.prom", "tgi", "box", {P: 900, G: 480, "success": 12, "failure": 3, S: 6.5}, 4),
        (
            "trtllm.prom",
            "trtllm",
            "llama",
            {P: 1000, K: 250, G: 640, "stop": 7, "length": 3, "error": 2, S: 8.5},
            5,
        ),
        # the ensemble's and the preprocessing's requests are the same ones again
        (
            "triton_trtllm.prom",
            "triton",
            "tensorrt_llm",
            {P: 800, G: 400, "success": 10, "failure": 2},
            4,
        ),
        ("lmdeploy_0_18.prom", "lmdeploy", "internlm", {P: 800, K: 64, G: 300, "stop": 8, S: 9.5}, 3),
        ("dynamo_frontend.prom", "dynamo", "qwen", {P: 1200, K: 200, G: 345, "success": 9, "error": 1}, 2),
    ],
)
def test_each_engine_is_recognised_and_summed_per_model(
    page: str, kind: str, model: str, expected: dict[Quantity | str, float], running: float
) -> None:
    sample = made(page)
    assert sample.kind == kind
    assert totals(sample) == of(model, expected)
    assert sample.running == {model: running}
    assert sample.missing == ()
    assert made(page, kind) == sample


@pytest.mark.parametrize(
    "folder",
    ["vllm_basic", "vllm_lora", "vllm_n2", "vllm_prefix_abort", "llamacpp_basic", "llamacpp_medium_1hz"],
)
def test_a_recorded_run_counts_what_the_server_did(folder: str) -> None:
    truth = json.loads((DATA / folder / "ground_truth.json").read_text())["server"]
    before, idle = (read((DATA / folder / f"{tag}.prom").read_bytes()) for tag in ("before", "idle"))
    grown: dict[Quantity, float] = {}
    for key, value in idle.counters.items():
        grown[key.quantity] = grown.get(key.quantity, 0.0) + value - before.counters[key]
    assert grown[G] == truth["generated"]
    assert grown[K] == truth["cached"]
    assert idle.missing == ()
    if folder.startswith("vllm"):
        assert grown[P] == truth["prompt"] == grown[C] + grown[K]
        assert grown[R] == truth["requests"]
        # Aborted requests had a first token, too; a step gives a token at least, and each request one of its own.
        assert grown[Quantity.FIRST_TOKENS] >= truth["requests"]
        assert 0 < grown[Quantity.INFERENCE_S] < 600
        assert grown[G] / 8 < grown[Quantity.STEPS] < grown[G]
        assert set(idle.running) == {"tiny-llama"}
        assert idle.process_start_s is not None and idle.process_start_s > 1_795_000_000
        assert idle.version == "0.18 or newer"
    else:
        assert grown[C] == truth["prompt"]
        assert not {P, R, Quantity.STEPS, Quantity.FIRST_TOKENS} & set(grown)
        assert grown[Quantity.INFERENCE_S] > 1
        assert idle.process_start_s is None


def test_six_significant_digits_are_read_as_they_are_printed() -> None:
    sample = read((DATA / "llamacpp_precision.prom").read_bytes())
    assert totals(sample) == of("box", {C: 1_155_730, K: 0, G: 2554, Quantity.INFERENCE_S: 59.5123 + 125.943})


def test_a_gateway_is_refused_because_its_tokens_are_the_engines() -> None:
    with pytest.raises(ReadFailed, match=r"LiteLLM's proxy, whose tokens the engine behind it counts already"):
        read((DATA / "litellm" / "after.prom").read_bytes())
    with pytest.raises(ReadFailed, match="LiteLLM"):
        read((DATA / "litellm" / "after.prom").read_bytes(), "vllm")
    with pytest.raises(ReadFailed, match="SGLang's router"):
        read("# TYPE sglang_router_requests_total counter\nsglang_router_requests_total 4\n")


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\n <html>", "HTML"),
        (b'{"error":{"message":"Loading model","code":503}}', "JSON"),
        (b"[]", "JSON"),
        (b"{}", "JSON"),
        (b"\x1f\x8b\x08\x00garbage", "gzip data"),
        (b"\x00\x01\x02", "binary data"),
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"Hello!", "some other text"),
    ],
)
def test_a_page_that_is_none_is_told_from_one_that_is(page: bytes, said: str) -> None:
    with pytest.raises(ReadFailed) as failed:
        read(page)
    assert failed.value.reason == f"not an exposition page: {said}"


def test_an_unknown_page_names_the_kinds_that_exist() -> None:
    with pytest.raises(ReadFailed) as failed:
        read("# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 5\n")
    assert all(kind in failed.value.reason for kind in ENGINES)


def test_an_engines_name_in_a_label_or_a_help_text_is_not_the_engine() -> None:
    with pytest.raises(ReadFailed, match="no known engine"):
        read('# HELP up of vllm:prompt_tokens_total\nup{job="\\nvllm:prompt_tokens_total 5"} 1\n')


def test_another_engines_page_than_the_configured_kind_is_refused() -> None:
    with pytest.raises(ReadFailed, match=r"this is the page of SGLang, kind says tgi"):
        made("sglang_0_5_23.prom", "tgi")
    with pytest.raises(ReadFailed, match="unknown kind 'vlm'"):
        made("vllm_0_12.prom", "vlm")


def test_missing_series_are_named_with_the_version_and_are_not_zero() -> None:
    sample = read('# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model_name="m"} 0\n')
    assert dict(sample.counters) == {}
    assert sample.missing == (
        "vllm:prompt_tokens_total (vLLM 0.8 or newer, without --disable-log-stats)",
        "vllm:generation_tokens_total (vLLM 0.8 or newer, without --disable-log-stats)",
    )
    ray = read("# TYPE ray_vllm_generation_tokens_total counter\nray_vllm_generation_tokens_total 4\n")
    assert ray.missing[0].startswith("ray_vllm_prompt_tokens_total (")
    assert ray.missing[1].startswith("ray_vllm_num_requests_running (")


def test_data_parallel_vllm_lacks_nothing_before_its_first_request_and_counts_both_ranks_after_it() -> None:
    """Several API servers: until one of them has a request, nobody tells how many are running."""
    folder = DATA.parent / "vllm_cpu"
    before, after = (read(gzip.decompress((folder / name).read_bytes())) for name in DATA_PARALLEL)
    assert (before.missing, before.running, sum(before.counters.values())) == ((), {}, 0)
    assert (after.missing, after.running) == ((), {"tiny": 0})
    expected: dict[Quantity | str, float] = {P: 4704 + 4329, C: 3424 + 4329, K: 1280, G: 892 + 854, "length": 13 + 8}
    assert totals(after).items() >= of("tiny", expected).items()
    lost = re.sub(rb"\nvllm:num_requests_running[^\n]*", b"", gzip.decompress((folder / DATA_PARALLEL[1]).read_bytes()))
    assert ["num_requests_running" in m for m in read(lost).missing] == [True]


def test_a_family_without_series_yet_is_not_missing_and_not_replaced_by_another() -> None:
    sample = made("sglang_fresh.prom")
    assert totals(sample) == {}
    assert [m.split()[0] for m in sample.missing] == []


def test_a_configured_engine_may_have_an_empty_page_before_its_first_request() -> None:
    sample = read(b"", "sglang")
    assert sample.kind == "sglang" and len(sample.missing) == 3 and not sample.running


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1", "1e300"])
def test_what_is_no_count_is_refused_and_told_and_the_other_ranks_stay(value: str) -> None:
    page = (
        "# TYPE vllm:generation_tokens_total counter\n"
        'vllm:generation_tokens_total{engine="0",model_name="m"} 7\n'
        f'vllm:generation_tokens_total{{engine="1",model_name="m"}} {value}\n'
        "# TYPE vllm:num_requests_running gauge\n"
        f'vllm:num_requests_running{{engine="0",model_name="m"}} {value}\n'
        'vllm:num_requests_running{engine="1",model_name="m"} 1\n'
        'vllm:num_requests_running{engine="0",model_name="n"} 2\n'
    )
    sample = read(page)
    assert totals(sample) == of("m", {G: 7})
    assert sample.running == {"n": 2}  # of m only a part is known, so nothing is
    assert sum("not a count" in m for m in sample.missing) == 1
    assert sum("not a number of requests" in m for m in sample.missing) == 1


def test_a_gauge_is_no_counter_and_a_counter_no_gauge() -> None:
    sample = read("# TYPE vllm:prompt_tokens_total gauge\nvllm:prompt_tokens_total 7\n")
    assert totals(sample) == {}
    assert "vllm:prompt_tokens_total" in sample.missing[0]


def test_a_series_that_cannot_be_read_is_told() -> None:
    sample = read("llamacpp:prompt_tokens_total many\nllamacpp:tokens_predicted_total 4\n")
    assert totals(sample) == of("box", {G: 4})
    assert "cannot be read: llamacpp:prompt_tokens_total many" in sample.missing


def test_the_model_is_the_label_then_the_config_then_the_engines_name() -> None:
    page = "llamacpp:tokens_predicted_total 4\n"
    assert set(totals(read(page, model="tiny"))) == {("tiny", "generated")}
    assert set(totals(read(page))) == {("box", "generated")}
    labelled = 'vllm:generation_tokens_total{model_name="a",model="b"} 4\n'
    assert set(totals(read(labelled, model="tiny"))) == {("a", "generated")}
    assert set(totals(read('vllm:generation_tokens_total{model_name=""} 4\n'))) == {("box", "generated")}


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_a_models_name_is_short_and_has_no_control_characters(name: str) -> None:
    text = name.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    sample = read(f'vllm:generation_tokens_total{{model_name="{text}"}} 4\n')
    (key,) = sample.counters
    assert 0 < len(key.model) <= MAX_LABEL
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in key.model)


def test_models_whose_names_are_alike_at_the_beginning_are_still_summed_apart() -> None:
    long = "x" * MAX_LABEL
    sample = read("".join(f'vllm:generation_tokens_total{{model_name="{long}{i}"}} 4\n' for i in range(3)))
    assert totals(sample) == of(long, {G: 12})


def test_outcomes_are_from_a_known_list() -> None:
    page = "".join(
        f'vllm:request_success_total{{finished_reason="{r}",model_name="m"}} 1\n' for r in ("stop", "x1", "x2")
    )
    assert totals(read(page)) == of("m", {"stop": 1, "other": 2})


def test_a_page_with_several_processes_does_not_say_when_the_engine_began() -> None:
    page = 'vllm:generation_tokens_total 1\nprocess_start_time_seconds{pod="a"} 5\n'
    assert read(page).process_start_s == 5
    assert read(page + 'process_start_time_seconds{pod="b"} 6\n').process_start_s is None


def test_workers_on_one_page_are_told_apart_for_their_restarts() -> None:
    processes = {k.process for k in made("ray_serve_vllm.prom").counters}
    assert processes == {"WorkerId=w1,ReplicaId=r1", "WorkerId=w2,ReplicaId=r2"}
    assert {k.process for k in made("vllm_0_12.prom").counters} == {""}


CUSTOM = {
    "prompt": "prompt_tokens_sum",
    "prompt_computed": "prefill_tokens_sum",
    "generated": "completion_tokens_sum",
}


def test_a_custom_engines_metrics_are_named_by_the_config() -> None:
    sample = read((DATA / "made" / "mlc.txt").read_bytes(), "custom", "qwen", **CUSTOM)
    assert sample.kind == "custom"
    assert totals(sample) == of("qwen", {P: 120, C: 100, G: 33})
    assert read((DATA / "made" / "mlc.txt").read_bytes(), "auto", "qwen", **CUSTOM).kind == "custom"


def test_a_custom_metric_may_be_chosen_by_its_labels_and_be_a_gauge() -> None:
    page = '# TYPE my_tokens gauge\nmy_tokens{mode="in"} 5\nmy_tokens{mode="out"} 7\nmy_running 2\nmy_queue 1\n'
    custom = {
        "prompt": 'my_tokens{mode="in"}',
        "generated": ' my_tokens { mode = "out" } ',
        "running": "my_running",
        "waiting": "my_queue",
    }
    sample = read(page, "custom", **custom)
    assert totals(sample) == of("box", {P: 5, G: 7})
    assert sample.running == {"box": 2} and sample.waiting == {"box": 1} and sample.missing == ()
    assert read("up 1\n", "custom", **custom).missing == (
        "my_tokens (as the config names it)",
        "my_tokens (as the config names it)",
    )


@pytest.mark.parametrize("custom", [{"tokens": "x"}, {"prompt": "x{a=1}"}, {"prompt": ""}, {"prompt": "{"}])
def test_a_custom_metric_that_is_none_is_refused(custom: dict[str, str]) -> None:
    with pytest.raises(ReadFailed, match="custom"):
        read("up 1\n", "custom", **custom)


def test_the_page_is_kept_only_when_it_is_recorded() -> None:
    page = b"llamacpp:tokens_predicted_total 4\n"
    assert read(page).page is None
    assert read_page(page, engine="box", at=AT, keep_page=True).page == page.decode()


@pytest.mark.parametrize("spec", ENGINES.values(), ids=lambda s: s.kind)
def test_every_engine_of_the_table_is_documented_and_has_a_recorded_page(spec: EngineSpec) -> None:
    assert spec.note.endswith(".") and spec.title and spec.metrics_paths
    pages = [p for p in DATA.rglob("*.prom") if not p.read_bytes().startswith(b"{")]
    kinds = set()
    for page in pages:
        try:
            kinds.add(read(page.read_bytes()).kind)
        except ReadFailed:
            assert page.parent.name == "litellm"
    assert spec.kind == "custom" or spec.kind in kinds


@given(st.binary(max_size=400), st.sampled_from(["auto", *ENGINES]))
def test_no_bytes_do_more_than_fail_with_a_reason(junk: bytes, kind: str) -> None:
    for page in (junk, b"vllm:generation_tokens_total 1\n" + junk):
        try:
            read(page, kind)
        except ReadFailed as failed:
            assert failed.reason
