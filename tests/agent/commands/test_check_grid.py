"""`joulecar check` of live grid sources: what they lack, and no key of theirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.commands.check import findings
from agent.commands.report import Found, lines
from agent.settings import GridSettings, ProviderSettings, Secret, Settings, SourcesSettings
from tests.agent.grids.pages import NOW_S, PROVIDERS, Told
from tests.agent.grids.test_payload_faults import CANARY, SHOUTED, STATUSES
from tests.fakes.clock import FakeClock
from tests.fakes.engine_server import EngineServer, answer


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with EngineServer({}) as started:
        yield started


def check(server: EngineServer, name: str) -> list[Found]:
    key, password = Secret(CANARY, "env KEY"), Secret(f"pass-{CANARY}", "env PASSWORD")
    tables = {name: ProviderSettings(server.url, 10.0, key, "car", password)}
    grid = GridSettings(zone=PROVIDERS[name].zone, providers=(name,), tables=tables)
    settings = Settings(grid=grid, sources=SourcesSettings(nvml="off", rapl="off", host="off"))
    found = findings(settings, FakeClock(wall_s=NOW_S))
    return [f for f in found if f.part == "grid" and f.subject not in ("pue", "zone")]


def test_what_a_source_lacks_is_shown_beside_what_it_says_and_is_no_fault(server: EngineServer) -> None:
    server.answers = {path: answer(body=body) for path, body in PROVIDERS["energinet"].pages(Told()).items()}
    found = check(server, "energinet")
    (lacks,) = [f for f in found if f.subject == "energinet" and not f.ok]
    assert (lacks.detail, lacks.fault) == ("lacks a part: energinet: http 404: nothing there", False)
    assert "grid.energinet" in lacks.fix
    (row,) = [dict(f.cells) for f in found if f.ok]
    assert (row["gCO2e/kWh"], row["kind"]) == ("250", "actual")


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_no_key_is_shown_whatever_the_server_says(server: EngineServer, name: str) -> None:
    good = PROVIDERS[name].pages(Told())
    for said in (*(answer(status, SHOUTED) for status in STATUSES), answer(200, SHOUTED), None):
        server.answers = {p: answer(body=b) if said is None or p == "/login" else said for p, b in good.items()}
        found = check(server, name)
        assert any(f.ok and dict(f.cells)["gCO2e/kWh"] != "-" for f in found if f.cells) is (said is None)
        assert CANARY not in "\n".join(lines(found, colour=False))
