"""What a run leaves beside its recording has the format of the recording that the tests replay."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from tests.bench.real_gpu.asked import Asked, Load
from tests.bench.real_gpu.told import Machine, told_json

RECORDED = Path(__file__).parents[2] / "data" / "h100" / "told.json"
ASKED = Asked("ab", "decode_1", 10.00004, 10.5, 11.0, prompt=8, generated=256, prefill_s=0.4)


def test_the_recording_of_the_tests_is_written_to_the_letter() -> None:
    """It is read, made into what was measured, and written again."""
    text = RECORDED.read_text(encoding="utf-8")
    told = json.loads(text)
    asked = [
        Asked(**{"trace_id": r.pop("trace_id"), "load": r.pop("load"), **r, "prefill_s": 0.0}) for r in told["requests"]
    ]
    loads = [
        Load(
            load["load"],
            load["seconds"],
            load["joules"],
            tuple(a for a in asked if a.load.startswith(load["load"].removesuffix("s"))),
        )
        for load in told["loads"]
    ]
    assert told_json(Machine(told["gpu"], told["driver"], told["rest_w"]), loads) == text


def test_figures_are_rounded_to_what_they_are_worth() -> None:
    load = Load("decode_1", 1.00004, 5.00004, (ASKED,))
    told = json.loads(told_json(Machine("a", "1", 100.126), [load]))
    assert told["rest_w"] == 100.13
    assert told["loads"] == [
        {"load": "decode_1", "seconds": 1.0, "joules": 5.0, "requests": 1, "prompt": 8, "generated": 256}
    ]
    assert told["requests"][0]["start_s"] == 10.0
    assert "above_rest_j" not in told["requests"][0]


def test_a_load_of_several_kinds_leaves_the_counts_to_its_requests() -> None:
    kinds = (replace(ASKED, load="single_prompt", above_rest_j=0.0), replace(ASKED, load="single_answer"))
    told = json.loads(told_json(Machine("a", "1", 1.0), [Load("singles", 1.0, 5.0, kinds)]))
    assert told["loads"] == [{"load": "singles", "seconds": 1.0, "joules": 5.0}]
    assert [r["load"] for r in told["requests"]] == ["single_prompt", "single_answer"]
    assert told["requests"][0]["above_rest_j"] == 0.0, "nothing above rest was measured, and not nothing"


def test_no_load_is_no_line() -> None:
    assert json.loads(told_json(Machine("a", "1", 1.0), [])) == {
        "gpu": "a", "driver": "1", "rest_w": 1.0, "loads": [], "requests": []
    }  # fmt: skip
