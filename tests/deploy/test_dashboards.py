"""The dashboards: fresh, complete, and every query of theirs answered by a real Prometheus."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from deploy.grafana.build import to_json
from deploy.grafana.generate import BOARDS, FOLDER
from deploy.grafana.spec import Board
from exporters.families import FAMILIES
from exporters.prometheus import Exposition
from tests.e2e.worlds import BRISK, engine, up
from tests.fakes.daemon import Daemon
from tests.fakes.engine import MODEL, FakeEngine
from tests.fakes.nvml.driver import FakeDriver, FakeGpu
from tests.fakes.pages import Pages
from tests.fakes.prometheus import Prometheus
from tests.fakes.snapshots import HeldSnapshot, full_snapshot
from tests.pictures.board import VARIABLE, DrawnBoard, DrawnPanel, everything, filled, read

DEPLOY = FOLDER.parents[1]
RULES = DEPLOY / "prometheus" / "rules.yaml"
DRAWN = {board.uid: read(FOLDER / f"{board.uid}.json") for board in BOARDS}
PANELS = [(board, panel) for board in DRAWN.values() for panel in board.asking()]
QUERIES = [(board, panel, target.expr) for board, panel in PANELS for target in panel.targets]
OF_GRAFANA = {"__rate_interval", "__range", "datasource"}
SELECTOR = re.compile(r"([a-z_:][a-z0-9_:]*)\{([^}]*)\}")
BARE = re.compile(r"(?<![a-z0-9_:])(?:[a-z]+:)?(?:joulecar|process_)[a-z0-9_:]*(?![a-z0-9_:{])")
PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
SHORT = everything(window="8s", rate="8s", span="8s")
RECORDED_WINDOW = "5m"
TOKENS = "joulecar_tokens_total"
ACCOUNTS = """\
[grid]
zone = "FR"
providers = ["table"]
[site]
pue = 1.2
wue_l_per_kwh = 1.1
market_g_per_kwh = 90.0
[site.price]
provider = "fixed"
per_kwh = 0.2
currency = "EUR"
[site.embodied]
enabled = true
gpu_kgco2e = 164.0
server_kgco2e = 1300.0
[[budget]]
name = "day"
limit = "1 kWh"
period = "day"
"""
ENOUGH_SCRAPES = 9


def asked(expr: str, **chosen: str) -> str:
    """The query of a dashboard that looks at the last seconds. Recorded rates are of minutes, and their sum over the
    time shown steps by minutes: here by seconds."""
    expr = expr.replace("rate${window}", f"rate{RECORDED_WINDOW}").replace("[$__range:1m]", "[$__range:1s]")
    return filled(expr, SHORT | chosen)


def selectors(expr: str) -> list[tuple[str, str]]:
    """Metric and matchers, with the variables as they stand."""
    found: list[tuple[str, str]] = SELECTOR.findall(expr.replace("${window}", RECORDED_WINDOW))
    return found


each_panel = pytest.mark.parametrize(("board", "panel"), PANELS, ids=[f"{b.uid}: {p.title}" for b, p in PANELS])
each_query = pytest.mark.parametrize(
    ("board", "panel", "expr"),
    QUERIES,
    ids=[f"{b.uid}: {p.title} {n}" for b, p in PANELS for n, _ in enumerate(p.targets, 1)],
)
each_board = pytest.mark.parametrize("board", DRAWN.values(), ids=DRAWN)


# -- the files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", BOARDS, ids=[b.uid for b in BOARDS])
def test_the_file_is_what_the_code_makes(board: Board) -> None:
    assert (FOLDER / f"{board.uid}.json").read_text(encoding="utf-8") == to_json(board), "run `make docs`"


def test_there_is_no_file_that_no_code_makes() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{uid}.json" for uid in DRAWN}


@each_panel
def test_a_panel_has_a_title_a_unit_and_says_what_is_included(board: DrawnBoard, panel: DrawnPanel) -> None:
    assert panel.title
    assert panel.unit
    assert len(panel.description) > 25
    assert panel.description.endswith(".")
    assert panel.targets


@each_board
def test_panels_fill_the_grid_and_none_lies_over_another(board: DrawnBoard) -> None:
    assert len({p.id for p in board.panels}) == len(board.panels)
    assert len({p.title for p in board.asking()}) == len(board.asking())
    for panel in board.panels:
        assert 0 <= panel.x < panel.x + panel.width <= 24
    for a, b in combinations(board.panels, 2):
        apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
        assert apart, f"{a.title} lies over {b.title}"
    filled_cells = sum(p.width * p.height for p in board.panels)
    assert filled_cells == 24 * max(p.y + p.height for p in board.panels), "a hole in the grid"


@each_board
def test_all_variables_are_used_and_all_that_are_used_are_there(board: DrawnBoard) -> None:
    texts = [target.expr for panel in board.asking() for target in panel.targets]
    texts += [str(v["query"]) for v in board.variables.values()]
    used = {name for text in texts for name in VARIABLE.findall(text)} - OF_GRAFANA
    assert used == set(board.variables) - {"datasource"}


@each_board
def test_lists_open_with_everything_which_matches_where_the_label_is_missing(board: DrawnBoard) -> None:
    for name in set(board.variables) - {"datasource", "window"}:
        variable = board.variables[name]
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
        assert variable["current"]["value"] == ["$__all"]


@each_panel
def test_every_selector_keeps_to_what_is_chosen(board: DrawnBoard, panel: DrawnPanel) -> None:
    for target in panel.targets:
        for metric, matchers in selectors(target.expr):
            assert 'cluster=~"$cluster"' in matchers, f"{metric} of all clusters"
            bare = BARE.findall(target.expr.replace("${window}", RECORDED_WINDOW))
        assert not bare, f"{bare} of everywhere"


@each_panel
def test_every_metric_is_one_that_is_served_or_recorded(board: DrawnBoard, panel: DrawnPanel) -> None:
    served = {family.name for family in FAMILIES} | PROCESS | recorded()
    served |= {f"{f.name}_{part}" for f in FAMILIES if f.type == "histogram" for part in ("bucket", "count", "sum")}
    for target in panel.targets:
        named = {metric for metric, _ in selectors(target.expr)}
        assert named
        assert named <= served, named - served


@each_query
def test_no_ratio_is_a_mean_of_ratios(board: DrawnBoard, panel: DrawnPanel, expr: str) -> None:
    assert "avg" not in expr
    assert "or vector(0)" not in expr, "0 where nothing is known"


def recorded() -> set[str]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] if RULES.exists() else []
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def test_the_provisioning_names_a_source_and_the_folder_of_the_dashboards() -> None:
    folder = FOLDER.parent / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards" / "joulecar.yaml").read_text())["providers"]
    assert source["type"] == "prometheus"
    assert provider["options"]["path"].startswith("/")
    assert provider["type"] == "file"


# -- what a Prometheus answers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Observed:
    """A Prometheus that has scraped a running agent, and the page of an agent that knows everything."""

    prometheus: Prometheus
    agent: str  # the instance label of the one that runs


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    folder = tmp_path_factory.mktemp("observed")
    powers_w = {"GPU-a": 420.0, "GPU-b": 90.0, "GPU-c": 60.0}
    driver = FakeDriver(folder, [FakeGpu(gpu, power_w=power_w) for gpu, power_w in powers_w.items()], log_calls=False)
    with ExitStack() as stack:
        served = stack.enter_context(FakeEngine())
        served.change(generated_per_s=300.0, prompt_per_s=900.0, cached_per_s=200.0, requests_per_s=3.0)
        # Nobody asks this one anything: its tokens and requests stay at 0, and nothing may be divided by them.
        quiet = stack.enter_context(FakeEngine(model="quiet"))
        engines = engine("chat", served.url, "gpus = [0]") + engine("quiet", quiet.url, "gpus = [1]")
        config = BRISK + ACCOUNTS + engines
        agent = stack.enter_context(Daemon(folder / "agent", config, env=driver.env()))
        agent.wait_for(lambda s: up(s, "engine", "chat") == 1 and s.get(TOKENS, model="quiet", type="generated") == 0)
        pages = stack.enter_context(Pages(full_page))
        target = agent.url.split("/")[2]
        prometheus = stack.enter_context(Prometheus(folder / "prometheus", target, pages.target, rules=brisk(folder)))
        until_s = time.monotonic() + 60.0
        while prometheus.scrapes() < 2 * ENOUGH_SCRAPES:
            assert time.monotonic() < until_s, "prometheus does not scrape"
            time.sleep(0.2)
        yield Observed(prometheus, target)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with Prometheus(tmp_path_factory.mktemp("empty") / "prometheus") as prometheus:
        yield prometheus


def full_page(asked: int) -> bytes:
    """An agent of which every family has samples, and whose counters grow."""
    full = full_snapshot(1.0 + 0.1 * asked)
    budgets = tuple(replace(b, burn_rates=dict.fromkeys(b.burn_rates, 1.1)) for b in full.budgets)
    return Exposition(HeldSnapshot(replace(full, budgets=budgets))).render()[0]


def brisk(folder: Path) -> list[Path]:
    """The recording rules, evaluated every second."""
    if not RULES.exists():
        return []
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in rules["groups"]:
        group["interval"] = "1s"
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    return [folder / "rules.yaml"]


@pytest.mark.e2e
@each_query
def test_every_query_finds_something(observed: Observed, board: DrawnBoard, panel: DrawnPanel, expr: str) -> None:
    found = observed.prometheus.query(asked(expr))
    assert found, expr
    assert all(math.isfinite(value) for value in found.values()), f"{expr}: {found}"


@pytest.mark.e2e
@each_panel
def test_every_label_of_a_legend_or_a_column_is_one_that_is_found(
    observed: Observed, board: DrawnBoard, panel: DrawnPanel
) -> None:
    found = [{k for labels in observed.prometheus.query(asked(t.expr)) for k, v in labels if v} for t in panel.targets]
    for target, labels in zip(panel.targets, found, strict=True):
        # This Prometheus has no cluster label.
        assert set(re.findall(r"\{\{(\w+)\}\}", target.legend)) - {"cluster"} <= labels, target
    assert set(panel.label_columns()) - {"cluster"} <= set().union(*found)


@pytest.mark.e2e
@each_board
def test_what_the_running_agent_says_is_found(observed: Observed, board: DrawnBoard) -> None:
    """Where every series that a query selects is there, the query finds something."""
    queries = [asked(t.expr, instance=observed.agent, zone="FR") for p in board.asking() for t in p.targets]
    said = [
        query
        for query in queries
        if all(observed.prometheus.query(f"{metric}{{{matchers}}}") for metric, matchers in selectors(query))
    ]
    # Gaps, pages of age, budgets: what this agent has not is asked of the other one.
    assert len(said) > 0.5 * len(queries)
    assert [query for query in said if not observed.prometheus.query(query)] == []


@pytest.mark.e2e
@each_query
def test_an_empty_prometheus_gives_nothing_and_no_error(
    empty: Prometheus, board: DrawnBoard, panel: DrawnPanel, expr: str
) -> None:
    assert empty.query(asked(expr)) == {}


@pytest.mark.e2e
@each_query
def test_a_model_that_is_chosen_does_not_break_a_query(
    observed: Observed, board: DrawnBoard, panel: DrawnPanel, expr: str
) -> None:
    observed.prometheus.query(asked(expr, engine="(chat|other)", model=MODEL, cluster="(nowhere|)"))


@pytest.mark.e2e
@each_board
def test_the_lists_offer_what_is_there(observed: Observed, board: DrawnBoard) -> None:
    for name, variable in board.variables.items():
        if variable["type"] != "query" or name == "cluster":  # this Prometheus has no cluster label
            continue
        query = re.fullmatch(r"label_values\((.+), (\w+)\)", filled(variable["query"]["query"], SHORT))
        assert query
        assert query[2] == name
        assert any(dict(labels).get(name) for labels in observed.prometheus.query(query[1])), name
