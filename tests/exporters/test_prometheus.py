"""The page: what promtool, the parsers and a golden file say of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from agent.model import Ledger, Snapshot, TokenType
from exporters.exposition import OPENMETRICS, TEXT, accepts_gzip, negotiate
from exporters.prometheus import Exposition, SnapshotCollector
from exporters.text import LIMIT, clean
from tests.conftest import Golden
from tests.fakes.snapshots import LLAMA, START, TRACE, HeldSnapshot, full_snapshot

parse_openmetrics: Callable[[str], Iterable[Metric]] = openmetrics_parser.text_string_to_metric_families

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def page(snapshot: Snapshot, accept: str = "", *, process: bool = False) -> str:
    return Exposition(HeldSnapshot(snapshot), process=process).render(accept)[0].decode()


def with_model(model: str) -> Snapshot:
    return Snapshot(START, ledger=Ledger(tokens={("e", model, TokenType.GENERATED): 1.0}))


def model_of(text: str) -> list[str]:
    return [s.labels["model"] for m in parse_text(text) if m.name == "joulecar_tokens" for s in m.samples]


def test_golden_scrape(golden: Golden) -> None:
    built = re.sub(r"build_info\{.*\}", 'build_info{version="...",python="..."}', page(full_snapshot()))
    golden.check("scrape.prom", built)


def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: sh tests/system-packages.sh installs Debian's prometheus, which has it"
    text = page(full_snapshot(), process=True)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_openmetrics_parses_to_the_same_samples_as_text() -> None:
    def told(families: Iterable[Metric]) -> set[tuple[str, tuple[tuple[str, str], ...], float]]:
        return {(s.name, tuple(sorted(s.labels.items())), s.value) for m in families for s in m.samples}

    openmetrics, text = page(full_snapshot(), PROMETHEUS_2), page(full_snapshot())
    assert openmetrics.endswith("# EOF\n")
    assert "# UNIT joulecar_energy_joules joules\n" in openmetrics
    assert "# TYPE joulecar_energy_joules counter\n" in openmetrics
    assert "# TYPE joulecar_energy_joules_total counter\n" in text
    assert told(parse_openmetrics(openmetrics)) == told(parse_text(text))
    assert len(told(parse_text(text))) > 60


def test_the_writer_says_what_prometheus_clients_own_says() -> None:
    source = HeldSnapshot(full_snapshot())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(source))
    theirs, ours = generate_latest(registry).decode(), page(source.held)
    assert [(m.name, m.type, m.documentation, m.samples) for m in parse_text(ours)] == [
        (m.name, m.type, m.documentation, m.samples) for m in parse_text(theirs)
    ]


def test_reading_has_no_effect() -> None:
    exposition = Exposition(HeldSnapshot(full_snapshot()), process=False)
    assert exposition.render() == exposition.render()


def test_a_new_snapshot_is_seen_at_the_next_scrape() -> None:
    source = HeldSnapshot(full_snapshot())
    exposition = Exposition(source, process=False)
    assert b"\njoulecar_pue 1.2\n" in exposition.render()[0]
    source.held = replace(source.held, pue=1.5)
    assert b"\njoulecar_pue 1.5\n" in exposition.render()[0]


def test_the_agents_own_process_is_there() -> None:
    text = page(full_snapshot(), process=True)
    resident = re.search(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
    assert resident
    assert float(resident.group(1)) > 1e6
    assert "\nprocess_cpu_seconds_total " in text


@pytest.mark.parametrize("name", ['say "cheese"', "back\\slash", "C:\\new", "Größe/模型", "a{b=c},d", "# EOF", ""])
def test_a_printable_name_comes_back_as_it_was(name: str) -> None:
    assert model_of(page(with_model(name))) == [name]
    openmetrics = page(with_model(name), "application/openmetrics-text")
    assert [s.labels["model"] for m in parse_openmetrics(openmetrics) for s in m.samples if "model" in s.labels] == [
        name
    ]


@given(st.text(alphabet=st.characters(), max_size=300))
def test_any_name_makes_one_clean_bounded_label(name: str) -> None:
    [label] = model_of(page(with_model(name)))
    assert label.isprintable()
    assert len(label) <= LIMIT


def test_a_name_cannot_forge_a_sample_or_steer_a_terminal() -> None:
    text = page(with_model('x"} 1\njoulecar_pue 9\n\x1b[2J\ud800'))
    assert "\njoulecar_pue 9" not in text
    assert "\x1b" not in text


def test_names_that_are_cut_stay_apart() -> None:
    assert clean("a" * 300 + "b") != clean("a" * 300 + "c")
    assert clean("x\ny") != clean("x\ty")
    assert len(clean("a" * 300)) == LIMIT


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("text/plain, application/openmetrics-text;q=0.5", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;version=99.0.0", TEXT),
        ("application/openmetrics-text;version=nonsense;q=x", TEXT),
        (";;,,=;q=;q", TEXT),
    ],
)
def test_accept_header(accept: str, answer: str) -> None:
    assert negotiate(accept) == answer
    assert Exposition(HeldSnapshot(full_snapshot()), process=False).render(accept)[1] == answer


@pytest.mark.parametrize(
    ("header", "answer"),
    [("", False), ("gzip", True), ("deflate, GZIP;q=0.5", True), ("gzip;q=0", False), ("br", False), ("*", False)],
)
def test_accept_encoding_header(header: str, answer: bool) -> None:
    assert accepts_gzip(header) is answer


def test_a_bucket_names_a_trace_in_openmetrics_and_in_text_there_is_none() -> None:
    openmetrics, text = page(full_snapshot(), PROMETHEUS_2), page(full_snapshot())
    bucket = f'joulecar_request_energy_joules_bucket{{engine="vllm-a",model="{LLAMA}",le="10.0"}} 30.0'
    assert f'{bucket} # {{trace_id="{TRACE}"}} 4.25 {START.wall_s}\n' in openmetrics
    assert f"{bucket}\n" in text
    (found,) = [m for m in parse_openmetrics(openmetrics) if m.name == "joulecar_request_energy_joules"]
    assert [s.exemplar.labels for s in found.samples if s.exemplar] == [{"trace_id": TRACE}]


def test_groups_have_the_configured_attributes_as_labels() -> None:
    who = f'{{engine="vllm-a",model="{LLAMA}",tenant_id="blue"}}'
    text = page(full_snapshot())
    assert f"joulecar_group_energy_joules_total{who} 95.0\n" in text
    assert f"joulecar_group_emissions_gco2e_total{who} 0.008\n" in text
