"""The reader agrees with prometheus_client's parser on the wanted series of every legal exposition text."""

from __future__ import annotations

import math
import timeit
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from agent.engines.exposition import parse_labels, scan, want

PAGES = sorted((Path(__file__).parents[2] / "data" / "engines").rglob("*.prom"))

WANTED = frozenset({"a_total", "b", "c_sum", "vllm:x_total", "b_long_name"})
UNWANTED = ("a", "a_total_more", "xa_total", "b2", "c_count", "c_bucket", "vllm:x", "c")
Row = tuple[str, tuple[tuple[str, str], ...], str]


def rows_of(page: bytes, wanted: frozenset[str] = WANTED) -> list[Row]:
    return [(s.name, tuple(sorted(s.labels.of.items())), repr(s.value + 0.0)) for s in scan(page, want(wanted)).samples]


def row(name: str, labels: dict[str, str], value: float) -> Row:
    return name, tuple(sorted(labels.items())), repr(float(value) + 0.0)  # -0 is 0


# Legal text, made line by line with everything that the format leaves free.

blank = st.sampled_from(["", " ", "\t", "  \t"])
gap = st.sampled_from([" ", "\t", "  ", " \t "])
value_text = st.one_of(
    st.integers(-(10**18), 10**18).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["NaN", "+Inf", "-Inf", "Inf", "1e6", "1.15573e+06", "-0", "+5", ".5", "5.", "1E-3"]),
)
label_value = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text(st.sampled_from('\\"\n{},# =a\t\r'), max_size=12),
)
label_names = st.lists(st.sampled_from(["x", "y", "le", "model_name", "_z", "engine"]), unique=True, max_size=4)


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


@dataclass(frozen=True)
class Line:
    text: str
    row: Row | None = None


@st.composite
def sample_line(draw: st.DrawFn) -> Line:
    name = draw(st.one_of(st.sampled_from(sorted(WANTED)), st.sampled_from(UNWANTED)))
    labels = {n: draw(label_value) for n in draw(label_names)}
    parts = [f'{draw(blank)}{n}{draw(blank)}={draw(blank)}"{escaped(v)}"{draw(blank)}' for n, v in labels.items()]
    form = draw(st.sampled_from(["plain", "plain", "plain", "quoted"]))
    value = draw(value_text)
    in_braces: bool = draw(st.booleans())
    trailing_comma: bool = draw(st.booleans())
    if form == "quoted":
        block = "{" + ",".join([f'{draw(blank)}"{name}"{draw(blank)}', *parts]) + "}"
        text = block + draw(blank)
    elif parts or in_braces:
        comma = "," if parts and trailing_comma else ""
        text = f"{name}{draw(blank)}{{{','.join(parts)}{comma}{draw(blank)}}}" + draw(blank)
    else:
        text = name + draw(gap)
    text += value
    tail = draw(st.sampled_from(["", "timestamp", "exemplar"]))
    if tail == "timestamp":
        text += draw(gap) + str(draw(st.integers(0, 2 * 10**12)))
    elif tail == "exemplar":
        text += ' # {trace_id="a}b_total 7"} 0.5 1520879607.789'
    expected = row(name, labels, float(value)) if name in WANTED else None
    return Line(draw(blank) + text + draw(blank), expected)


comment_line = st.builds(
    Line,
    st.one_of(
        st.just(""),
        st.just("   "),
        st.just("# EOF"),
        st.just('# a_total{x="1"} 5'),
        st.sampled_from([*sorted(WANTED), *UNWANTED]).map(lambda n: f"# HELP {n} counts a_total 3 of b 4"),
        st.sampled_from([*sorted(WANTED), *UNWANTED]).map(lambda n: f"#\t TYPE  {n}\tgauge"),
    ),
)


@given(st.lists(st.one_of(sample_line(), comment_line), max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_every_legal_text_reads_as_prometheus_client_reads_it(lines: Sequence[Line], newline: str) -> None:
    text = "".join(line.text + newline for line in lines)
    theirs = [
        row(s.name, s.labels, s.value) for family in parse_prometheus(text) for s in family.samples if s.name in WANTED
    ]
    ours = rows_of(text.encode())
    # prometheus_client gives out a family's samples when the next family begins, untyped ones at once
    assert sorted(ours) == sorted(theirs)
    assert ours == [line.row for line in lines if line.row is not None]


registry_values = st.floats(min_value=0, allow_nan=False, allow_infinity=False, max_value=1e15)
registry_rows = st.dictionaries(st.tuples(label_value, label_value), registry_values, max_size=4)


@given(registry_rows, registry_rows, st.booleans())
def test_what_prometheus_client_writes_reads_back(
    counts: dict[tuple[str, str], float], lengths: dict[tuple[str, str], float], open_metrics: bool
) -> None:
    registry = CollectorRegistry()
    counter = Counter("a", "counts\nthings", ["x", "y"], registry=registry)
    histogram = Histogram("c", 'how "long"', ["x", "y"], buckets=(1, 2), registry=registry)
    gauge = Gauge("b", "now", ["x", "y"], registry=registry)
    Summary("b2", "other", registry=registry).observe(1)
    for labels, value in counts.items():
        counter.labels(*labels).inc(value, exemplar={"trace_id": "a_total 3"} if open_metrics else None)
        gauge.labels(*labels).set(-value)
    for labels, value in lengths.items():
        histogram.labels(*labels).observe(value)
    if open_metrics:  # its OpenMetrics modules carry no types
        text = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call]
        families = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    else:
        text = generate_latest(registry).decode()
        families = parse_prometheus(text)
    theirs = [row(s.name, s.labels, s.value) for f in families for s in f.samples if s.name in WANTED]
    assert rows_of(text.encode()) == theirs
    assert len(theirs) == 2 * len(counts) + len(lengths)
    types = {s.name: s.type for s in scan(text.encode(), want(WANTED)).samples}
    assert set(types.items()) <= {("a_total", "counter"), ("b", "gauge"), ("c_sum", "histogram")}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_recorded_pages_read_as_prometheus_client_reads_them(path: Path) -> None:
    page = path.read_bytes()
    if page.startswith(b"{"):
        pytest.skip("a 503's JSON")
    counters_without_total = {
        line.split()[2]
        for line in page.decode().splitlines()
        if line.startswith("# TYPE") and line.endswith(" counter") and not line.split()[2].endswith("_total")
    }
    theirs = []
    for family in parse_prometheus(page.decode()):
        for s in family.samples:
            bare = family.name in counters_without_total and s.name == f"{family.name}_total"
            theirs.append(row(family.name if bare else s.name, s.labels, s.value))
    names = frozenset(name for name, _, _ in theirs)
    assert sorted(rows_of(page, names)) == sorted(theirs)


@given(st.binary(max_size=200), st.lists(sample_line(), max_size=3))
def test_no_bytes_make_it_raise_or_hide_the_lines_after_them(junk: bytes, lines: Sequence[Line]) -> None:
    page = junk + b"\n" + "".join(line.text + "\n" for line in lines).encode()
    expected = [line.row for line in lines if line.row is not None]
    assert rows_of(page)[-len(expected) :] == expected or not expected


@pytest.mark.parametrize(
    ("page", "kind"),
    [
        (b"# TYPE a_total counter\na_total 1\n", "counter"),
        (b"# TYPE a counter\na_total 1\n", "counter"),  # OpenMetrics names the family
        (b"# TYPE a gauge\na_total 1\n", ""),  # a gauge of the same stem says nothing of the counter
        (b"# TYPE a_total gauge\na_total 1\n", "gauge"),
        (b"# TYPE a_total histogram\na_total 1\n", "histogram"),
        (b'# TYPE "a_total" counter\n{"a_total"} 1\n', "counter"),
        (b"a_total 1\n# TYPE a_total counter\n", ""),
    ],
)
def test_the_type_is_what_the_type_line_before_the_sample_says(page: bytes, kind: str) -> None:
    assert [s.type for s in scan(page, want({"a_total"})).samples] == [kind]


def test_a_counter_and_its_twin_gauge_keep_their_own_types() -> None:
    page = b"# TYPE a_total counter\na_total 1\n# TYPE a_total gauge\na_total 2\n"
    assert [(s.value, s.type) for s in scan(page, want({"a_total"})).samples] == [(1, "counter"), (2, "gauge")]


@pytest.mark.parametrize(
    "line",
    ["a_total", "a_total{x=1} 3", 'a_total{x="1} 3', "a_total many", "a_total 1_000", 'a_total{x="1",x="2"} 3'],
)
def test_a_wanted_line_that_is_no_exposition_is_named_and_not_read(line: str) -> None:
    found = scan(f"b 1\n{line} \nc_sum 2\n".encode(), want(WANTED))
    assert [s.name for s in found.samples] == ["b", "c_sum"]
    assert len(found.malformed) == 1 and found.malformed[0].startswith(line[:7])


def test_a_label_text_does_not_depend_on_the_order_of_the_labels() -> None:
    first, second = scan(b'b{x="1",y="2"} 1\nb{y="2",x="1",} 1\n', want({"b"})).samples
    assert first.labels.text == second.labels.text
    one, two = scan(b'b{x="1,y=2"} 1\nb{x="1",y="2"} 1\n', want({"b"})).samples
    assert one.labels.text != two.labels.text


def test_values_keep_what_a_count_needs() -> None:
    values = [s.value for s in scan(b"b 9007199254740993\nb 1.15573e+06\nb NaN\nb -Inf\n", want({"b"})).samples]
    assert values[:2] == [9007199254740992.0, 1155730.0]
    assert math.isnan(values[2]) and values[3] == -math.inf


def test_a_line_of_quotes_without_end_takes_no_time() -> None:
    hostile = b'b{x="' + b'\\"' * 200_000 + b"\n" + b"b{" + b'"' * 200_001 + b"\nb{" + b"{" * 200_000 + b"\nb 1\n"
    assert [s.value for s in scan(hostile, want({"b"})).samples] == [1.0]


def test_labels_of_a_config_are_read_like_those_of_a_page() -> None:
    assert parse_labels('mode="decode", x="a\\"b"') == {"mode": "decode", "x": 'a"b'}
    assert parse_labels("mode=decode") is None


def test_reading_the_wanted_series_costs_a_small_part_of_parsing_the_page() -> None:
    page = (PAGES[0].parents[1] / "vllm_basic" / "idle.prom").read_bytes()
    text, wanted = page.decode(), want({"vllm:prompt_tokens_total", "vllm:generation_tokens_total"})
    ours = min(timeit.repeat(lambda: scan(page, wanted), number=1, repeat=15))
    theirs = min(timeit.repeat(lambda: list(parse_prometheus(text)), number=1, repeat=3))
    assert theirs / ours > 20  # about 80 on a quiet machine
