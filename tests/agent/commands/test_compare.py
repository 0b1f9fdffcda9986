"""`joulecar replay --compare`: the same joules, split by several policies."""

from __future__ import annotations

from importlib import resources

import pytest

from agent import cli

TRACE = str(resources.files("agent") / "data" / "simulated.jsonl.gz")


def test_every_policy_has_a_column_and_the_sums_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["replay", TRACE, "--compare", "weights=0.12,weights=auto"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["JOULES", "weights=0.12", "weights=auto"]
    rows = {line.rsplit(maxsplit=2)[0]: line.split()[-2:] for line in lines[1:]}
    assert rows["sum"][0] == rows["sum"][1]
    prefill = next(v for k, v in rows.items() if k.endswith(" prefill"))
    assert prefill[0] != prefill[1]
    weight = next(v for k, v in rows.items() if k.endswith("prefill weight"))
    assert weight[0] == "0.1200" != weight[1]
    assert next(v for k, v in rows.items() if k.endswith("confidence"))[0] == "-"


@pytest.mark.parametrize("policy", ["weights=x", "weights=11", "weights=nan", "speed=1", ""])
def test_what_is_no_policy_is_said_with_what_is_one(capsys: pytest.CaptureFixture[str], policy: str) -> None:
    assert cli.main(["replay", TRACE, "--compare", policy]) == 1
    assert "weights=0.12,weights=auto" in capsys.readouterr().err
