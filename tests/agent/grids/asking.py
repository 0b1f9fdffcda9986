"""What the tests of the providers share: a real HTTP client, and what a server was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from agent.clock import SystemClock
from agent.errors import ReadFailed
from agent.grids.client import HttpxClient
from agent.model import Instant
from agent.settings import ProviderSettings, Secret
from tests.fakes.engine_server import EngineServer

TOKEN = "s3cret-t0ken"
HTTP = HttpxClient(SystemClock())


def at(wall_s: float) -> Instant:
    return Instant(0.0, wall_s)


def settings(server: EngineServer, region: str = "", token: str | None = TOKEN) -> ProviderSettings:
    secret = None if token is None else Secret(token, "env GRID_TOKEN")
    return ProviderSettings(base_url=server.url + "/", timeout_s=10.0, token=secret, region=region)


def asked(server: EngineServer, n: int = -1) -> tuple[str, dict[str, str]]:
    """Path and query of a request."""
    url = urlsplit(server.asked[n][0])
    return url.path, {name: values[0] for name, values in parse_qs(url.query).items()}


def body(data: object) -> bytes:
    return json.dumps(data).encode()


@contextmanager
def refusal(*words: str) -> Iterator[list[str]]:
    """A ReadFailed that says all of this, the provider and the field among it, in one short line. That line is in the
    list afterwards."""
    line: list[str] = []
    with pytest.raises(ReadFailed) as caught:
        yield line
    said = str(caught.value)
    line.append(said)
    assert [word for word in words if word not in said] == [], said
    assert len(said) < 300 and said.isprintable()
