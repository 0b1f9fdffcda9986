"""Geo-IP: a country or nothing, and only from who was named."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agent.errors import ReadFailed
from agent.grids.geoip import ask
from agent.grids.http import Answer

URL = "http://127.0.0.1:9/country"


class Says:
    """An HTTP client that says one thing."""

    def __init__(self, body: bytes = b"", status: int = 200, failing: ReadFailed | None = None) -> None:
        self._answer = Answer(status, {}, body)
        self._failing = failing
        self.asked: list[tuple[str, float]] = []

    def get(self, url: str, *, params: Mapping[str, str], headers: Mapping[str, str], timeout_s: float) -> Answer:
        assert not params
        assert not headers
        self.asked.append((url, timeout_s))
        if self._failing is not None:
            raise self._failing
        return self._answer


@pytest.mark.parametrize(
    "body",
    [
        b"FR",
        b"fr\n",
        b'{"country_code": "FR", "city": "Paris"}',
        b'{"countryCode":"FR"}',
        b'{"country":"FR","region":"CA"}',
    ],
)
def test_a_country_of_two_letters_is_taken_and_nothing_finer(body: bytes) -> None:
    http = Says(body)
    where = ask(http, URL)
    assert (where.zone, where.found) == ("FR", "geoip")
    assert http.asked == [(URL, 2.0)]


@pytest.mark.parametrize(
    "says",
    [
        Says(b""),
        Says(b"XX"),
        Says(b"France"),
        Says(b"<html>"),
        Says(b'{"country": null}'),
        Says(b'{"country": "France"}'),
        Says(b"{"),
        Says(b"FR", status=429),
        Says(b"F\xff"),
        Says(failing=ReadFailed("timeout")),
    ],
)
def test_anything_else_leaves_the_zone_unknown_and_says_why(says: Says) -> None:
    where = ask(says, URL)
    assert (where.zone, where.found) == ("", "unknown")
    assert where.detail.startswith("geoip: ")
    assert URL not in where.detail
