"""The guard over the whole test run."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.conftest import OUTSIDE
from tests.no_outside import OutsideError, is_outside


def test_a_connection_that_leaves_the_machine_is_refused_and_remembered() -> None:
    with socket.socket() as reaching, pytest.raises(OutsideError):
        reaching.connect(("169.254.169.254", 80))
    with pytest.raises(OutsideError):
        socket.getaddrinfo("api.carbonintensity.org.uk", 443)
    assert OUTSIDE.take() == [
        "socket.connect '169.254.169.254'",
        "socket.getaddrinfo 'api.carbonintensity.org.uk'",
    ]
    assert OUTSIDE.take() == []


def test_an_attempt_that_its_caller_swallows_is_remembered_all_the_same() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reaching:
        assert reaching.connect_ex(("127.0.0.1", 9)) == 0
        with contextlib.suppress(OSError):
            reaching.connect(("8.8.8.8", 53))
    assert len(OUTSIDE.take()) == 1


@pytest.mark.parametrize(
    ("host", "outside"),
    [
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", False),
        (b"localhost", False),
        (None, False),
        ("", False),
        ("192.0.2.7", False),
        ("nobody.invalid", False),
        ("10.0.0.1", True),
        ("169.254.169.254", True),
        ("fe80::1%eth0", True),
        ("metadata.google.internal", True),
        (b"example.org", True),
    ],
)
def test_what_is_outside(host: object, outside: bool) -> None:
    assert is_outside(host) is outside
