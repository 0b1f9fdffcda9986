"""A file that an operator drops in: what it may say, and that every fault names its line and field."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from agent.errors import Unavailable
from agent.grids import joulecar
from agent.grids.file import NAME, FileProvider, covers, parse_csv, parse_json
from agent.model import GridIntensity
from agent.settings import ProviderSettings
from tests.agent.grids.asking import at, refusal

CHANGED_S = 1_790_800_000.0
NOW = at(1_790_900_000.0)
FROM_S = 1_790_812_800.0  # 2026-10-01T00:00Z
HEAD = "from,to,g_per_kwh"
ROW = "2026-10-01T00:00Z,2026-10-01T01:00Z,231.5"
FIRST = GridIntensity(
    zone="DE",
    g_per_kwh=231.5,
    provider="file",
    valid_from_s=FROM_S,
    valid_to_s=FROM_S + 3600.0,
    fetched_at_s=CHANGED_S,
    source="a file of the operator's",
)


def csv(*lines: str) -> tuple[GridIntensity, ...]:
    return parse_csv("\n".join(lines).encode(), "DE", CHANGED_S)


def write(path: Path, text: str, changed_s: float = CHANGED_S) -> None:
    path.write_text(text, "utf-8")
    os.utime(path, (changed_s, changed_s))


def provider(path: Path) -> FileProvider:
    return FileProvider(ProviderSettings(path=path))


def test_three_columns_are_enough_and_the_file_is_as_fresh_as_its_modification() -> None:
    assert csv(HEAD, ROW) == (FIRST,)


def test_every_column_is_taken() -> None:
    (entry,) = csv(
        "zone,g_per_kwh,to,from,source,basis,signal,kind",
        "Germany,39,1790816400,1790812800,our utility,direct,marginal,forecast",
    )
    assert entry == GridIntensity(
        zone="DE",
        g_per_kwh=39.0,
        provider="file",
        signal="marginal",
        basis="direct",
        kind="forecast",
        valid_from_s=FROM_S,
        valid_to_s=FROM_S + 3600.0,
        fetched_at_s=CHANGED_S,
        source="our utility",
    )


def test_json_says_the_same_with_the_same_keys() -> None:
    row = {"from": "2026-10-01T02:00+02:00", "to": FROM_S + 3600, "g_per_kwh": 231.5, "zone": "Germany"}
    assert parse_json(json.dumps([row]).encode(), "DE", CHANGED_S) == (FIRST,)


def test_what_another_agent_serves_may_be_dropped_in_and_keeps_its_provider() -> None:
    served = GridIntensity("DE", 300.0, "energy_charts", valid_from_s=FROM_S, valid_to_s=FROM_S + 900, fetched_at_s=5.0)
    other = GridIntensity("FR", 40.0, "rte", valid_from_s=FROM_S, valid_to_s=FROM_S + 900)
    assert parse_json(joulecar.encode([served, other]), "DE", CHANGED_S) == (served,)


def test_a_spreadsheets_marks_spaces_and_blank_lines_do_not_matter() -> None:
    text = "\ufeff from , to ,g_per_kwh\r\n 2026-10-01T00:00Z, 2026-10-01T01:00Z , 231.5 \r\n\r\n"
    assert parse_csv(text.encode(), "DE", CHANGED_S) == (FIRST,)


def test_rows_of_other_zones_are_passed_over_but_checked() -> None:
    assert csv(f"{HEAD},zone", f"{ROW},FR", f"{ROW},de") == (FIRST,)
    with refusal(NAME, "line 3: g_per_kwh"):
        csv(f"{HEAD},zone", f"{ROW},de", f"{ROW}x,FR")


def test_a_forecast_does_not_stand_in_the_way_of_a_value() -> None:
    assert [entry.kind for entry in csv(f"{HEAD},kind", f"{ROW},forecast", f"{ROW},")] == ["forecast", "actual"]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["from,to"], ("line 1", "no g_per_kwh")),
        ([""], ("line 1", "no from")),
        ([f"{HEAD},gramms"], ("line 1", "'gramms'", "none of from, to")),
        ([f"{HEAD},to"], ("line 1", "to twice")),
        ([HEAD, ROW, "2026-10-01T01:00Z,2026-10-01T02:00Z,-3"], ("line 3: g_per_kwh", "-3 g/kWh")),
        ([HEAD, "2026-10-01T01:00Z,2026-10-01T02:00Z,10000"], ("line 2: g_per_kwh", "10000 g/kWh")),
        ([HEAD, "2026-10-01T01:00Z,2026-10-01T02:00Z,231;5"], ("line 2: g_per_kwh", "'231;5', not a number")),
        ([HEAD, "2026-10-01T01:00Z,2026-10-01T02:00Z,nan"], ("line 2: g_per_kwh", "not finite")),
        ([HEAD, "2026-10-01T01:00Z,2026-10-01T02:00Z,"], ("line 2: g_per_kwh", "null")),
        ([HEAD, "2026-10-01T01:00,2026-10-01T02:00Z,5"], ("line 2: from", "no offset from UTC")),
        ([HEAD, "2026-10-01T01:00Z,01.10.2026 02:00,5"], ("line 2: to", "not a time such as")),
        ([HEAD, "1790812800000,1790816400000,5"], ("line 2: from", "not Unix seconds")),
        ([HEAD, "2026-10-01T01:00Z,2026-10-01T01:00Z,5"], ("line 2: to", "not after from")),
        ([HEAD, "2026-10-01T01:00Z,2026-10-01T02:00Z"], ("line 2", "not as many cells")),
        ([HEAD, f"{ROW},9"], ("line 2", "not as many cells")),
        ([HEAD, ROW, "2026-10-01T00:30Z,2026-10-01T01:30Z,5"], ("line 3: from", "inside the interval of line 2")),
        ([f"{HEAD},signal", f"{ROW},", f"{ROW},marginal"], ("line 3: signal, basis", "other rows of DE")),
        ([f"{HEAD},basis", f"{ROW},direct", f"{ROW},"], ("line 3: signal, basis",)),
        ([f"{HEAD},kind", f"{ROW},guess"], ("line 2: kind", "'guess'", "estimated")),
        ([f"{HEAD},basis", f"{ROW},market"], ("line 2: basis", "direct")),
        ([f"{HEAD},signal", f"{ROW},percentile"], ("line 2: signal", "marginal")),
        ([f"{HEAD},zone", f"{ROW},Atlantis"], ("line 2: zone", "Atlantis")),
        ([f"{HEAD},zone", f"{ROW},Georgia"], ("line 2: zone", "more than one zone")),
        ([f"{HEAD},source", f"{ROW},a\x07b"], ("line 2: source",)),
        ([HEAD, f'"{ROW}'], ("not CSV",)),
    ],
)
def test_a_fault_of_a_csv_names_its_line_and_field(lines: list[str], words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        csv(*lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("is empty",)),
        ("{", ("not JSON",)),
        ('{"from": 1}', ("not a list of objects",)),
        ("[7]", ("[0]", "not an object")),
        ('[{"from": 1790812800, "to": 1790816400}]', ("[0]", "no g_per_kwh")),
        ('[{"from": 1790812800, "to": 1790816400, "g_per_kwh": null}]', ("[0]: g_per_kwh", "null")),
        ('[{"from": 1790812800, "to": 1790816400, "g_per_kwh": true}]', ("[0]: g_per_kwh", "not a number")),
        ('[{"from": 1790812800, "to": 1790816400, "g_per_kwh": 5, "zone": 7}]', ("[0]: zone", "not a text")),
        ('[{"from": 1790812800, "to": 1790816400, "g_per_kwh": 5, "unit": "lb"}]', ("[0]", "'unit'")),
        ('{"intensities": [{"zone": "DE"}]}', ("intensities[0]",)),
    ],
)
def test_a_fault_of_a_json_file_names_its_entry_and_field(text: str, words: tuple[str, ...]) -> None:
    with refusal(NAME, *words):
        parse_json(text.encode(), "DE", CHANGED_S)


def test_the_name_says_which_of_the_two_it_is(tmp_path: Path) -> None:
    write(tmp_path / "grid.CSV", f"{HEAD}\n{ROW}\n")
    write(tmp_path / "grid.json", json.dumps([{"from": FROM_S, "to": FROM_S + 3600, "g_per_kwh": 231.5}]))
    for name in ("grid.CSV", "grid.json"):
        assert provider(tmp_path / name).fetch("Germany", NOW) == (replace(FIRST, fetched_at_s=NOW.wall_s),)


def test_a_value_is_told_now_and_a_forecast_when_the_file_was_changed(tmp_path: Path) -> None:
    write(tmp_path / "grid.csv", f"{HEAD},kind\n{ROW},estimated\n{ROW},forecast\n")
    found = provider(tmp_path / "grid.csv").fetch("DE", NOW)
    assert [(entry.kind, entry.fetched_at_s) for entry in found] == [("estimated", NOW.wall_s), ("forecast", CHANGED_S)]


def test_what_another_agent_told_keeps_its_time(tmp_path: Path) -> None:
    told = GridIntensity("DE", 300.0, "neso", valid_from_s=FROM_S, valid_to_s=FROM_S + 900, fetched_at_s=CHANGED_S - 99)
    write(tmp_path / "grid.json", joulecar.encode([told]).decode())
    assert provider(tmp_path / "grid.json").fetch("DE", NOW) == (told,)


def test_of_a_year_the_days_around_now_are_taken(tmp_path: Path) -> None:
    hours = [FROM_S + 3600 * n for n in range(8760)]
    write(
        tmp_path / "grid.csv", "\n".join([HEAD, *(f"{hour},{hour + 3600},{n % 500}" for n, hour in enumerate(hours))])
    )
    reader = provider(tmp_path / "grid.csv")
    for now_s in (hours[4000] + 60, hours[4500] + 60):
        found = reader.fetch("DE", at(now_s))
        assert len(found) == (9 + 7) * 24 + 1
        assert any(entry.valid_from_s <= now_s < entry.valid_to_s for entry in found)
    with refusal(NAME, "no row of DE for these days"):
        reader.fetch("DE", at(hours[-1] + 30 * 86_400))


def test_a_file_is_read_again_when_it_changes_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    write(path, f"{HEAD}\n{ROW}\n")
    reader = provider(path)
    assert [entry.g_per_kwh for entry in reader.fetch("DE", NOW)] == [231.5]
    changed = f"{HEAD}\n{ROW.replace('231.5', '100.5')}\n"
    with path.open("r+", encoding="utf-8") as same:  # behind the clock's back: neither size, time nor place tell
        same.write(changed)
    os.utime(path, (CHANGED_S, CHANGED_S))
    assert [entry.g_per_kwh for entry in reader.fetch("DE", NOW)] == [231.5]
    os.utime(path, (CHANGED_S + 1, CHANGED_S + 1))
    assert [entry.g_per_kwh for entry in reader.fetch("DE", NOW)] == [100.5]


def test_a_file_that_is_replaced_in_one_step_is_seen_though_size_and_time_are_the_same(tmp_path: Path) -> None:
    path, new = tmp_path / "grid.csv", tmp_path / "new"
    write(path, f"{HEAD}\n{ROW}\n")
    reader = provider(path)
    reader.fetch("DE", NOW)
    write(new, f"{HEAD}\n{ROW.replace('231.5', '100.5')}\n")
    new.replace(path)
    assert reader.fetch("DE", NOW)[0].g_per_kwh == 100.5


def test_a_fault_lasts_until_the_file_is_put_right(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    reader = provider(path)
    with refusal(NAME, "grid.csv", "No such file"):
        reader.fetch("DE", NOW)
    write(path, HEAD + "\nnonsense\n")
    for _ in range(2):
        with refusal(NAME, "line 2"):
            reader.fetch("DE", NOW)
    write(path, f"{HEAD}\n{ROW}\n", CHANGED_S + 1)
    assert reader.fetch("DE", NOW)


def test_a_file_without_the_zone_is_told(tmp_path: Path) -> None:
    write(tmp_path / "grid.csv", f"{HEAD},zone\n{ROW},FR\n")
    with refusal(NAME, "no row of DE"):
        provider(tmp_path / "grid.csv").fetch("DE", NOW)


def test_a_file_from_the_future_is_not_fresher_than_now(tmp_path: Path) -> None:
    write(tmp_path / "grid.csv", f"{HEAD},kind\n{ROW},forecast\n", NOW.wall_s + 1e6)
    assert provider(tmp_path / "grid.csv").fetch("DE", NOW)[0].fetched_at_s == NOW.wall_s


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with refusal(NAME, "is not a file"):
        provider(tmp_path / "pipe.csv").fetch("DE", NOW)
    with refusal(NAME, "is not a file"):
        provider(tmp_path).fetch("DE", NOW)


def test_a_file_of_five_megabytes_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "grid.csv", " " * 5_000_000)
    with refusal(NAME, "larger than 4 MB"):
        provider(tmp_path / "grid.csv").fetch("DE", NOW)


def test_without_a_path_there_is_nothing_to_read() -> None:
    with pytest.raises(Unavailable, match="no path") as caught:
        FileProvider(ProviderSettings()).fetch("DE", NOW)
    assert "grid.file.path" in caught.value.fix


def test_it_covers_every_zone_there_is() -> None:
    assert (covers("Germany"), covers("DK1"), covers("Atlantis")) == ("DE", "DK-DK1", None)
