"""[otlp]: where spans are received and passed on to, and which of its keys can stand together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent import config_model as model
from agent import config_types as types
from agent.config_rules import Checked, Report, duration_s, secret, server, url_fault
from agent.settings import OtlpSettings

MAX_BODY = 64_000_000
MIN_MEMORY_S, MAX_MEMORY_S = 60.0, 7200.0
KEYS = ("forward_token_env", "forward_token_file")


def otlp(table: Checked[model.Otlp], report: Report, env: Mapping[str, str]) -> OtlpSettings | None:
    """None: nothing is received."""
    value = table.value
    if not value.listen:
        return None
    max_body, memory_s = types.size_bytes(value.max_body) or 0, duration_s(value.window_memory)
    if not 0 < max_body <= MAX_BODY:
        report.add(table.at("max_body"), "must be more than 0 and at most 64MB")
    if not MIN_MEMORY_S <= memory_s <= MAX_MEMORY_S:
        report.add(table.at("window_memory"), "must be between 1m and 2h", "no request is longer")
    if value.forward_to and (wrong := url_fault(value.forward_to)) is not None:
        report.add(table.at("forward_to"), wrong[0], 'write it like "http://127.0.0.1:4319"')
    token = secret(table, value.forward_token_env, value.forward_token_file, (KEYS[0], KEYS[1]), env, report)
    if token is not None and not value.forward_to:
        report.add(table.at("forward_to"), "is missing, so its token would do nothing")
    listen: Checked[model.Server] = Checked(table.path, value, table.bad)
    listening = server(listen, report, env, None)
    return OtlpSettings(
        server=replace(listening, section="otlp"),
        max_body=max_body,
        memory_s=memory_s,
        forward_to=value.forward_to.rstrip("/"),
        forward_token=token,
        group_by=tuple(value.group_by),
        max_groups=value.max_groups,
    )
