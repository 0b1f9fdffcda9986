"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.no_outside import Outside

DATA = Path(__file__).parent / "data"
OUTSIDE = Outside()


@dataclass(frozen=True)
class Golden:
    """Files that hold what the program should say, word for word."""

    update: bool

    def check(self, name: str, said: str) -> None:
        """said is what tests/data/golden/name holds; `pytest --update-golden` writes it there instead."""
        path = DATA / "golden" / name
        if self.update:
            path.write_text(said, encoding="utf-8")
        assert said == path.read_text(encoding="utf-8"), f"{path.name} differs: review `pytest --update-golden`"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the files in tests/data/golden")


def pytest_configure() -> None:
    # For the agents that tests start: none of them asks 169.254.169.254 where it is.
    os.environ["JOULECAR_METADATA"] = "off"
    OUTSIDE.install()


@pytest.fixture(autouse=True)
def _nothing_outside() -> Iterator[None]:
    """No test reaches beyond this machine."""
    yield
    assert OUTSIDE.take() == []


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(bool(request.config.getoption("--update-golden")))
