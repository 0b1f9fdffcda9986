"""The fleet dashboard's queries without the recording rules."""

from __future__ import annotations

import re

from tests.fleet.asking import RULES, asked, recorded, unrecorded


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_a_recorded_series_becomes_its_rule_and_its_matchers_go_to_the_counter() -> None:
    made = flat(unrecorded('sum(model:joulecar_tokens:rate5m{cluster=~".*", type="generated"})'))
    assert 'rate(joulecar_tokens_total{type="generated"}[5m])' in made
    assert "rate5m" not in made
    assert ".*" not in made, "all of it is no matcher"
    assert 'joulecar_grid_intensity_info{signal="average"}' in made, "the agents' zones are reckoned, too"


def test_a_rule_on_a_rule_hands_its_matchers_down() -> None:
    made = flat(unrecorded('zone:joulecar_energy_joules:rate5m{use=~"idle|unassigned"}'))
    assert made.startswith("(sum without (model) ((sum without (")
    assert 'rate(joulecar_energy_joules_total{use=~"idle|unassigned"}[5m])' in made


def test_no_query_of_the_dashboard_is_left_with_a_recorded_series() -> None:
    queries = asked()
    assert len(queries) > 15
    assert sum(q.is_recorded for q in queries) > 15
    for query in queries:
        assert not any(name in unrecorded(query.expr) for name in recorded())


def test_the_example_that_sends_sums_alone_sends_all_that_the_dashboard_asks_for() -> None:
    example = RULES.with_name("remote-write.yml").read_text(encoding="utf-8")
    (sent,) = re.findall(r"#\s+regex: (.+)", example)
    names = {name for query in asked() for name in re.findall(r"((?:\w+:)?joulecar_[a-z0-9_:]+)\{", query.expr)}
    assert len(names) > 5
    assert [name for name in names if not re.fullmatch(sent, name)] == []
