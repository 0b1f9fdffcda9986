"""From one agent to another: nothing is lost on the way, and nothing gets fresher."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Unavailable
from agent.grids.joulecar import NAME, PATH, JoulecarProvider, covers, decode, encode, shared
from agent.model import GridIntensity
from agent.settings import ProviderSettings, Secret
from tests.agent.grids.asking import HTTP, TOKEN, at, body, refusal, settings
from tests.fakes.engine_server import EngineServer, answer

NOW_S = 1_790_000_295.0
ACTUAL = GridIntensity(
    zone="DK-DK1",
    g_per_kwh=75.0,
    provider="energinet",
    basis="direct",
    valid_from_s=1_790_000_000.0,
    valid_to_s=1_790_000_300.0,
    fetched_at_s=1_790_000_290.0,
    source="CO2Emis DK1, Energinet; CC BY 4.0",
)
YEARLY = GridIntensity("DK-DK1", 143.3, "table", kind="yearly", source="DK 2025")

times = st.floats(1e9, 4e9)
intensities = st.builds(
    GridIntensity,
    zone=st.sampled_from(["FR", "US-CA", "gcp:europe-west9"]),
    g_per_kwh=st.floats(0.0, 3000.0),
    provider=st.sampled_from(["rte", "electricity_maps"]),
    signal=st.sampled_from(["average", "marginal"]),
    basis=st.sampled_from(["lifecycle", "direct"]),
    kind=st.sampled_from(["actual", "forecast", "last_value"]),
    valid_from_s=st.one_of(st.just(-math.inf), st.floats(1e9, 2e9)),
    valid_to_s=st.one_of(st.just(math.inf), st.floats(2.1e9, 4e9)),
    fetched_at_s=st.one_of(st.none(), st.floats(0.0, NOW_S)),
    source=st.text(st.characters(categories=("L", "N", "P", "Zs"), exclude_characters=""), max_size=50).filter(
        str.isprintable
    ),
)


@given(st.lists(intensities, max_size=5))
def test_what_is_encoded_is_decoded_as_it_was(entries: list[GridIntensity]) -> None:
    assert decode(encode(entries), NOW_S) == tuple(entries)


def test_the_document_is_the_one_that_is_documented() -> None:
    assert json.loads(encode([ACTUAL, YEARLY])) == {
        "intensities": [
            {
                "zone": "DK-DK1",
                "g_per_kwh": 75.0,
                "provider": "energinet",
                "signal": "average",
                "basis": "direct",
                "kind": "actual",
                "valid_from_s": 1790000000.0,
                "valid_to_s": 1790000300.0,
                "fetched_at_s": 1790000290.0,
                "source": "CO2Emis DK1, Energinet; CC BY 4.0",
            },
            {
                "zone": "DK-DK1",
                "g_per_kwh": 143.3,
                "provider": "table",
                "signal": "average",
                "basis": "lifecycle",
                "kind": "yearly",
                "valid_from_s": None,
                "valid_to_s": None,
                "fetched_at_s": None,
                "source": "DK 2025",
            },
        ]
    }


def test_a_value_that_is_none_cannot_be_served() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode([replace(ACTUAL, g_per_kwh=math.nan)])


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer({PATH: answer(body=encode([ACTUAL, YEARLY]))}) as started:
        yield started


def test_an_intensity_keeps_its_provider_and_its_age(server: EngineServer) -> None:
    assert JoulecarProvider(settings(server), HTTP).fetch("DK1", at(NOW_S)) == [YEARLY, ACTUAL]
    assert server.asked[-1][0] == "/grid.json"


def test_the_other_agent_is_asked_with_its_token_or_its_password(server: EngineServer) -> None:
    def authorization(how: ProviderSettings) -> str | None:
        JoulecarProvider(how, HTTP).fetch("DK1", at(NOW_S))
        return server.asked[-1][1].get("authorization")

    assert authorization(settings(server)) == f"Bearer {TOKEN}"
    basic = ProviderSettings(base_url=server.url, user="car", password=Secret("päss", "file"))
    assert authorization(basic) == "Basic " + base64.b64encode("car:päss".encode()).decode()
    assert authorization(settings(server, token=None)) is None


def test_without_an_address_there_is_nobody_to_ask() -> None:
    with pytest.raises(Unavailable, match="no address") as caught:
        JoulecarProvider(ProviderSettings(), HTTP).fetch("DK1", at(NOW_S))
    assert "grid.joulecar.base_url" in caught.value.fix


def test_another_zone_is_refused(server: EngineServer) -> None:
    with refusal(NAME, "intensities[0].zone", "'DK-DK1', not 'FR'"):
        JoulecarProvider(settings(server), HTTP).fetch("FR", at(NOW_S))


def test_an_agent_that_knows_nothing_yet_is_worth_another_try(server: EngineServer) -> None:
    server.answers[PATH] = answer(body=encode([]))
    with refusal(NAME, "knows no intensity yet"):
        JoulecarProvider(settings(server), HTTP).fetch("DK1", at(NOW_S))


def test_keys_of_a_later_version_are_ignored() -> None:
    data = json.loads(encode([ACTUAL]))
    data["version"] = 2
    data["intensities"][0]["revision"] = 7
    assert decode(body(data), NOW_S) == (ACTUAL,)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("zone", None),
        ("zone", 'DK"} 1\n'),
        ("zone", "x" * 65),
        ("g_per_kwh", None),
        ("g_per_kwh", -1),
        ("g_per_kwh", 10_000),
        ("g_per_kwh", "75"),
        ("g_per_kwh", True),
        ("provider", ""),
        ("provider", "x" * 41),
        ("provider", "a b"),
        ("signal", "percentile"),
        ("basis", None),
        ("kind", "Actual!"),
        ("kind", ["actual"]),
        ("signal", ["average"]),
        ("valid_from_s", "2026-10-01"),
        ("valid_to_s", 1_790_000_000.0),
        ("fetched_at_s", NOW_S + 3600),
        ("fetched_at_s", "now"),
        ("source", 7),
        ("source", "two\nlines"),
    ],
)
def test_a_faulty_entry_refuses_the_answer_with_its_field(key: str, value: Any) -> None:
    data = json.loads(encode([YEARLY, ACTUAL]))
    data["intensities"][1][key] = value
    with refusal(NAME, f"intensities[1].{key}"):
        decode(body(data), NOW_S)


def test_a_time_that_is_left_out_is_no_open_end() -> None:
    for key in ("valid_from_s", "valid_to_s"):
        data = json.loads(encode([ACTUAL]))
        del data["intensities"][0][key]
        with refusal(NAME, f"intensities[0].{key}", "missing"):
            decode(body(data), NOW_S)


@pytest.mark.parametrize(
    "answered",
    [
        b"",
        b"[]",
        b"<html>",
        b"{}",
        b'{"intensities": {}}',
        b'{"intensities": [7]}',
        body({"intensities": [{}] * 10_001}),
    ],
)
def test_an_answer_that_is_none_is_refused(answered: bytes) -> None:
    with refusal(NAME):
        decode(answered, NOW_S)


def test_a_long_source_is_cut() -> None:
    data = json.loads(encode([replace(ACTUAL, source="x" * 5000)]))
    assert len(decode(body(data), NOW_S)[0].source) == 200


def test_it_covers_every_zone_there_is() -> None:
    assert (covers("France"), covers("DK1"), covers("Atlantis")) == ("FR", "DK-DK1", None)


def test_what_is_passed_on_has_two_days_of_what_was_told_last_each_once() -> None:
    hours = [
        replace(ACTUAL, valid_from_s=NOW_S - h * 3600, valid_to_s=NOW_S - (h - 1) * 3600) for h in range(60, 0, -1)
    ]
    passed_on = shared([YEARLY, hours[-1]], hours, NOW_S)
    assert passed_on == (YEARLY, hours[-1], *hours[-48:-1])
    assert len(decode(encode(passed_on), NOW_S)) == 49
