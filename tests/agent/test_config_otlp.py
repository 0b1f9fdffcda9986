"""[otlp]: what can be written, and every fault of it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import parse
from agent.errors import ConfigError
from agent.settings import OtlpSettings, Secret, ServerSettings

LISTEN = "[otlp]\nlisten = '127.0.0.1:4318'\n"


def otlp(text: str, **env: str) -> OtlpSettings | None:
    return parse(text, env=env).otlp


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, env={})
    return [str(fault) for fault in caught.value.faults]


def test_without_an_address_nothing_is_received() -> None:
    assert otlp("") is None
    assert otlp("[otlp]\nmax_groups = 5") is None


def test_an_address_alone_is_enough() -> None:
    assert otlp(LISTEN) == OtlpSettings(ServerSettings("127.0.0.1", 4318, section="otlp"))


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    text = LISTEN + (
        "max_body = '500kB'\nwindow_memory = '30m'\nforward_to = 'http://collector:4318/'\n"
        "forward_token_env = 'TOKEN'\ngroup_by = ['tenant.id', 'tier']\nmax_groups = 7\n"
        "basic_auth_user = 'u'\nbasic_auth_password_env = 'PASSWORD'\n"
        "[[engine]]\nurl = 'http://127.0.0.1:8000'\nspan_service = 'chat'"
    )
    settings = parse(text, env={"TOKEN": "t", "PASSWORD": "p"})
    found = settings.otlp
    assert found is not None
    assert (found.max_body, found.memory_s, found.forward_to) == (500_000, 1800.0, "http://collector:4318")
    assert found.forward_token == Secret("t", "env TOKEN")
    assert (found.group_by, found.max_groups) == (("tenant.id", "tier"), 7)
    assert (found.server.basic_auth_user, settings.engines[0].span_service) == ("u", "chat")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[otlp]\nlisten = '4318'", "otlp.listen: has no port"),
        (LISTEN + "max_body = '1TB'", "otlp.max_body: must be a size"),
        (LISTEN + "max_body = 4", "otlp.max_body: must be a size"),
        (LISTEN + "max_body = '1GB'", "otlp.max_body: must be more than 0 and at most 64MB"),
        (LISTEN + "window_memory = '1s'", "otlp.window_memory: must be between 1m and 2h"),
        (LISTEN + "forward_to = 'collector'", "otlp.forward_to: must begin with http"),
        (LISTEN + "group_by = 'tenant'", "otlp.group_by: must be a list"),
        (LISTEN + "group_by = ['a', 'b', 'c', 'd']", "otlp.group_by: has more than 3"),
        (LISTEN + "group_by = ['a.b', 'a_b']", "otlp.group_by: has two names"),
        (LISTEN + "group_by = ['model']", "otlp.group_by: has two names"),
        (LISTEN + "tls_cert = '/nowhere'", "otlp.tls_key: is missing"),
        (LISTEN + "max_grops = 1", "otlp.max_grops"),
    ],
)
def test_faults_name_the_place(text: str, fault: str) -> None:
    assert any(fault in said for said in faults(text)), faults(text)
