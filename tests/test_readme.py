"""README.md is held to the code: its commands run, its files parse, its metrics, engines and links exist.

Blocks marked sh are what a reader types, console is what was printed, toml a configuration, yaml Prometheus's, promql
a query.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agent.cli import parser
from agent.config import parse
from agent.engines.table import ENGINES
from exporters.document import metrics_md
from exporters.families import FAMILIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CHANGELOG.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    "agent/data/README.md",
    "tests/data/README.md",
]
RUN = {"check", "config", "metrics", "replay", "rules"}  # of no effect and quick; the others are parsed
TRACE = "agent/data/simulated.jsonl.gz"


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def commands() -> list[list[str]]:
    """The words of every command, of the shell blocks and of the tables; a redirection is a word like any other."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    lines += re.findall(r"`(joulecar [^`]+)`", README)
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def joulecar() -> list[list[str]]:
    return [words[1:] for words in commands() if words[0] == "joulecar" and words[-1] != "FILE"]


def promtool(*args: str | Path) -> str:
    found = shutil.which("promtool")
    assert found, "promtool is missing: sh tests/system-packages.sh installs Debian's prometheus, which has it"
    done = subprocess.run([found, *args], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("words", joulecar(), ids=" ".join)
def test_every_command_of_the_readme_is_one(words: list[str]) -> None:
    args = words[: words.index(">")] if ">" in words else words
    if args == ["--version"]:
        return
    assert isinstance(parser().parse_args(args), argparse.Namespace)


def test_the_quick_commands_run_one_after_the_other_as_printed(tmp_path: Path) -> None:
    (tmp_path / "agent").symlink_to(ROOT / "agent")
    ran = set()
    for words in [w[1:] for block in blocks("sh") for line in block.splitlines() if (w := shlex.split(line, True))]:
        if not words or words[0] not in RUN:
            continue
        args, into = (words[: words.index(">")], words[-1]) if ">" in words else (words, None)
        done = subprocess.run(
            [sys.executable, "-m", "agent.cli", *args],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        # check says 1 where something is missing, as on any machine that runs this test.
        assert done.returncode in ((0, 1) if args[0] == "check" else (0,)), done.stdout + done.stderr
        assert done.stdout.strip()
        assert "Traceback" not in done.stderr
        if into:
            (tmp_path / into).write_text(done.stdout, encoding="utf-8")
        ran.add(args[0])
    assert ran == RUN


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {w[1] for w in commands() if w[0] == "make"} | set(re.findall(r"`make (\w+)`", README))
    assert targets >= {"demo", "test", "bench"}
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_configurations_are_accepted(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem", "password"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    texts = [block.replace("/etc/joulecar", str(tmp_path)) for block in blocks("toml")]
    found = [parse(text, env={"LLAMA_API_KEY": "x"}, origin="README.md") for text in texts]
    assert [e.name for s in found for e in s.engines] == ["chat", "agents", "127.0.0.1:8080"]
    assert [s.server.basic_auth_user for s in found if s.server.tls_key] == ["prometheus"]


def test_prometheus_takes_the_scrape_configuration(tmp_path: Path) -> None:
    (only,) = blocks("yaml")
    (tmp_path / "prometheus.yml").write_text(only, encoding="utf-8")
    promtool("check", "config", tmp_path / "prometheus.yml")


def test_prometheus_takes_every_query_as_a_rule(tmp_path: Path) -> None:
    queries = blocks("promql")
    rules = tmp_path / "rules.yml"
    rules.write_text(_rules(queries), encoding="utf-8")
    assert f"{len(queries)} rules found" in promtool("check", "rules", rules)
    assert len(queries) >= 6


@pytest.mark.parametrize(("names", "finds"), [("joulecar_energy_pending_joules", 3), ("joulecar_request_unclaimed", 1)])
def test_the_queries_of_conservation_hold_for_a_replayed_trace(names: str, finds: int, tmp_path: Path) -> None:
    """For every kind of device, and for every model with requests."""
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", "replay", ROOT / TRACE, "--format", "prometheus"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    series = [line.rsplit(" ", 1) for line in done.stdout.splitlines() if line.startswith("joulecar_")]
    query = next(q for q in blocks("promql") if names in q)
    (tmp_path / "rules.yml").write_text("groups: []\n", encoding="utf-8")
    (tmp_path / "test.yml").write_text(
        "rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n"
        + "".join(f"      - {{series: '{name}', values: '{value}'}}\n" for name, value in series)
        + "    promql_expr_test:\n      - eval_time: 0m\n        exp_samples: [{value: "
        + str(finds)
        + "}]\n        expr: |\n"
        + "".join(f"          {line}\n" for line in f"count({query})".splitlines()),
        encoding="utf-8",
    )
    promtool("test", "rules", tmp_path / "test.yml")


def _rules(queries: list[str]) -> str:
    text = "groups:\n  - name: readme\n    rules:\n"
    for n, query in enumerate(queries):
        text += f"      - record: readme:query_{n}\n        expr: |\n"
        text += "".join(f"          {line}\n" for line in query.splitlines())
    return text


@pytest.mark.parametrize("page", PAGES)
def test_every_metric_that_is_named_is_one_that_is_served(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"\bjoulecar_[a-z0-9_]+", text))
    served = {family.name for family in FAMILIES}
    served |= {f"{f.name}_{part}" for f in FAMILIES if f.type == "histogram" for part in ("bucket", "count", "sum")}
    assert named <= served, named - served
    if page == "README.md":
        assert len(named) > 10


def test_metrics_md_describes_every_family() -> None:
    written = (ROOT / "exporters" / "METRICS.md").read_text(encoding="utf-8")
    assert all(f"### {family.name}\n" in written for family in FAMILIES)
    assert written == metrics_md(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_repository_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        assert not path or ((ROOT / page).parent / path).exists(), target
        if anchor and not path:
            heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}, target


def test_every_kind_of_engine_has_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", section("Engines"), re.MULTILINE)
    assert set(rows) == {"kind", *ENGINES}


def test_every_folder_of_data_says_where_it_is_from() -> None:
    """Source and licence of each recorded input, in a README beside it or in the one above."""
    for top in (ROOT / "tests" / "data", ROOT / "agent" / "data"):
        told = (top / "README.md").read_text(encoding="utf-8")
        for path in top.iterdir():
            assert path.name in told, f"{path} is not in {top}/README.md"
            own = path / "README.md"
            assert not path.is_dir() or path.name == "golden" or own.is_file(), f"{own} is missing"


def test_every_runtime_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=\[ ]", requirement)[0]
        assert re.search(rf"\b{re.escape(name)}\b", section("Dependencies")), name
