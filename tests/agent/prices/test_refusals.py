"""Whatever a source of prices answers, it is a price that a market can have or a refusal: never a crash."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import JoulecarError, ReadFailed
from agent.prices.market import HIGHEST_EUR_PER_MWH, LOWEST_EUR_PER_MWH
from agent.prices.table import DAY_AHEAD
from agent.settings import PriceSettings
from tests.agent.grids.asking import HTTP, at
from tests.agent.prices.test_providers import NOW_S, PARSERS, charts, danish, row, slot, viennese
from tests.fakes.engine_server import Answer, EngineServer, answer, raw

GOOD = {
    "energinet": danish(row(0, 99.27), row(15, -4.5), row(30, 0.0)),
    "energy_charts": charts(94.87, -3.0, None, 86.19),
    "awattar": viennese(slot(0, 42.09), slot(1, -5.12), slot(2, 0.0)),
}
PATHS = {"energinet": "/dataset/DayAheadPrices", "energy_charts": "/price", "awattar": "/v1/marketdata"}
ZONES = {"energinet": "DK1", "energy_charts": "DE-LU", "awattar": "AT"}
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from([1e300, -1e300, 10**400, 1_760_184_000, 1_760_184_000_000, "2025-10-11T12:00:00+02:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in an answer, itself included."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def with_other(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = value.copy()
    copy[path[0]] = with_other(value[path[0]], path[1:], other)
    return copy


@pytest.mark.parametrize("provider", GOOD)
def test_the_good_answers_are_good(provider: str) -> None:
    assert len(PARSERS[provider](GOOD[provider])) == 3


@pytest.mark.parametrize("provider", GOOD)
@given(st.data())
def test_an_answer_with_anything_in_any_place_is_a_price_or_a_refusal_by_name(
    provider: str, data: st.DataObject
) -> None:
    good = json.loads(GOOD[provider])
    path = data.draw(st.sampled_from(list(places(good))))
    broken = with_other(good, path, data.draw(anything))
    try:
        found = PARSERS[provider](json.dumps(broken).encode())
    except ReadFailed as refused:
        assert provider in str(refused) and len(str(refused)) < 300 and str(refused).isprintable()
        return
    for earlier, later in pairwise(found):
        assert earlier.valid_to_s <= later.valid_from_s
    for entry in found:
        assert math.isfinite(entry.per_kwh)
        assert LOWEST_EUR_PER_MWH <= entry.per_kwh * 1000 <= HIGHEST_EUR_PER_MWH
        assert 0 < entry.valid_to_s - entry.valid_from_s <= 3600


@pytest.mark.parametrize("provider", GOOD)
@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"\xff\xfe\x00\x00"),
        answer(200, gzip.compress(b'{"records": []}')[:-9], Content_Encoding="gzip"),
        answer(200, gzip.compress(b" " * 20_000_000), Content_Encoding="gzip"),
        answer(302, Location="http://192.0.2.1/elsewhere"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"),
        raw(b"nonsense"),
        raw(),
    ],
)
def test_a_server_that_fails_is_a_failure_of_this_time(provider: str, said: Answer) -> None:
    with EngineServer({PATHS[provider]: said}) as server, pytest.raises(JoulecarError) as caught:
        own = PriceSettings(provider, "EUR", zone=ZONES[provider], base_url=server.url)
        DAY_AHEAD[provider].build(own, HTTP).fetch(at(NOW_S))
    assert isinstance(caught.value, ReadFailed)
    assert len(str(caught.value)) < 200
