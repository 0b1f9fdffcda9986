"""What a [[budget]] says, and every way to say it wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from agent.config import load_budgets, parse
from agent.config_advice import advice
from agent.errors import ConfigError, ConfigFault
from agent.settings import BudgetSettings

NO_ENV: Mapping[str, str] = {}
BUDGET = '[[budget]]\nname = "b"\n'
KWH = BUDGET + 'limit = "1 kWh"\n'


def budget(text: str) -> BudgetSettings:
    (one,) = parse(text, env=NO_ENV).budgets
    return one


def faults(text: str) -> tuple[ConfigFault, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, env=NO_ENV)
    return caught.value.faults


@pytest.mark.parametrize(
    ("limit", "quantity", "unit", "value"),
    [
        ("3 J", "energy", "joules", 3.0),
        ("50 kWh", "energy", "joules", 180e6),
        ("50kWh", "energy", "joules", 180e6),
        ("2.5 MJ", "energy", "joules", 2.5e6),
        ("1e3 kJ", "energy", "joules", 1e6),
        ("1 MWh", "energy", "joules", 3.6e9),
        ("250 gCO2e", "carbon", "gco2e", 250.0),
        ("20 kgCO2e", "carbon", "gco2e", 20e3),
        ("1.5 tCO2e", "carbon", "gco2e", 1.5e6),
    ],
)
def test_a_limit_is_taken_in_its_base_unit(limit: str, quantity: str, unit: str, value: float) -> None:
    found = budget(f'{BUDGET}limit = "{limit}"')
    assert (found.quantity, found.unit) == (quantity, unit)
    assert found.limit == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("limit", "litres"), [("100 L", 100.0), ("2 m3", 2000.0), ("7 litres", 7.0)])
def test_water_is_in_litres_where_it_is_counted(limit: str, litres: float) -> None:
    found = budget(f'{BUDGET}limit = "{limit}"\n[site]\nwue_l_per_kwh = 1.8')
    assert (found.quantity, found.unit, found.limit) == ("water", "liters", litres)


def test_without_more_a_budget_is_a_calendar_month_of_everybodys_metered_use_in_utc() -> None:
    assert budget(KWH) == BudgetSettings("b", "energy", 3.6e6, "joules")


def test_everything_that_can_be_said() -> None:
    found = budget(
        BUDGET + 'limit = "1 kWh"\nperiod = "rolling"\nover = "30d"\nengine = "chat"\nmodel = ["m/1", "m-2"]\n'
        'timezone = "Europe/Paris"\nboundary = "facility"'
    )
    assert found == BudgetSettings(
        "b",
        "energy",
        3.6e6,
        "joules",
        period="rolling",
        over_s=30 * 86400.0,
        engines=("chat",),
        models=("m/1", "m-2"),
        timezone="Europe/Paris",
        boundary="facility",
    )


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ('[[budget]]\nlimit = "1 J"', "name", "is missing"),
        ('[[budget]]\nname = "a{{b}}"\nlimit = "1 J"', "name", "alone"),
        (BUDGET, "limit", "is missing"),
        (BUDGET + "limit = 50", "limit", "must be text"),
        (BUDGET + 'limit = "50"', "limit", 'write "50 kWh"'),
        (BUDGET + 'limit = "-1 kWh"', "limit", 'write "50 kWh"'),
        (BUDGET + 'limit = "0 kWh"', "limit", "more than 0"),
        (BUDGET + 'limit = "50 kwh"', "limit", 'did you mean "kWh"?'),
        (BUDGET + 'limit = "50 KWH"', "limit", 'did you mean "kWh"?'),
        (BUDGET + 'limit = "50 kgCO2"', "limit", 'did you mean "kgCO2e"?'),
        (BUDGET + 'limit = "50 bananas"', "limit", "one of J, kJ"),
        (BUDGET + 'limit = "25 EUR"', "limit", "energy has no price"),
        (BUDGET + 'limit = "25 L"', "limit", "wue_l_per_kwh"),
        (KWH + 'period = "monht"', "period", 'did you mean "month"?'),
        (KWH + 'period = "rolling"', "over", 'write over = "30d"'),
        (KWH + 'over = "30d"', "over", 'period = "rolling"?'),
        (KWH + 'period = "rolling"\nover = "30m"', "over", "between 1h and 92d"),
        (KWH + 'period = "rolling"\nover = "93d"', "over", "between 1h and 92d"),
        (KWH + 'period = "rolling"\nover = "long"', "over", "must be a duration"),
        (KWH + "engine = []", "engine", "selects nothing"),
        (KWH + "model = 3", "model", "must be a name or a list"),
        (KWH + 'model = ["a", "a"]', "model", "names one twice"),
        (KWH + 'timezone = "Europe/Pariss"', "timezone", 'did you mean "Europe/Paris"?'),
        (KWH + 'timezone = "Europe"', "timezone", "no time zone"),
        (KWH + 'timezone = "../../etc/passwd"', "timezone", "no time zone"),
        (KWH + 'scope = "total"', "scope", "has no scopes"),
        (BUDGET + 'limit = "1 gCO2e"\nboundary = "facility"', "boundary", "one boundary"),
        (BUDGET + 'limit = "1 gCO2e"\nscope = "total"', "scope", "no embodied grams"),
    ],
)
def test_a_wrong_budget_is_told_its_place_and_what_to_write(text: str, key: str, words: str) -> None:
    fault = faults(text)[0]
    assert fault.path == f"budget[0].{key}"
    assert words in str(fault)
    assert fault.line is not None


def test_every_fault_is_told_at_once() -> None:
    text = '[[budget]]\nlimit = "1 kwh"\ntimezone = "Mars"\n[[budget]]\nname = "b"\nlimit = "1 J"\nlimt = 1\n' + KWH
    assert [fault.path for fault in faults(text)] == [  # in the order of the file's lines
        "budget[0].name",
        "budget[0].limit",
        "budget[0].timezone",
        "budget[1].limt",
        "budget[2].name",
    ]


def test_a_budget_that_is_no_list_is_told_how_to_write_it() -> None:
    (fault,) = faults("[budget]\nname = 'b'")
    assert "[[budget]]" in str(fault)


def test_two_budgets_cannot_have_one_name() -> None:
    (fault,) = faults(KWH + KWH)
    assert (fault.path, fault.message) == ("budget[1].name", "is the name of budget[0] too")


def test_a_selector_that_matches_nothing_yet_is_worth_a_word_and_no_fault() -> None:
    said = advice(parse(KWH + 'engine = "chta"\n[[engine]]\nname = "chat"\nurl = "http://127.0.0.1:1"', env=NO_ENV))
    assert [word for word in said if "chta" in word]


def test_a_carbon_budget_without_a_zone_is_worth_a_word() -> None:
    grams = BUDGET + 'limit = "1 kgCO2e"\n'
    assert [word for word in advice(parse(grams, env=NO_ENV)) if "budget b" in word]
    assert not [word for word in advice(parse(grams + '[grid]\nzone = "FR"', env=NO_ENV)) if "budget b" in word]


def test_budgets_alone_are_read_without_the_files_secrets_and_directories(tmp_path: Path) -> None:
    file = tmp_path / "joulecar.toml"
    file.write_text(f'[agent]\nstate_dir = "/nowhere"\n[[engine]]\nurl = "http://a"\ntoken_env = "GONE"\n{KWH}')
    assert load_budgets(file) == (BudgetSettings("b", "energy", 3.6e6, "joules"),)


def test_faults_of_budgets_are_told_with_their_line_when_budgets_alone_are_read(tmp_path: Path) -> None:
    file = tmp_path / "joulecar.toml"
    file.write_text(f'[site]\npue = 1.2\n{BUDGET}limit = "5 kwh"\n')
    with pytest.raises(ConfigError) as caught:
        load_budgets(file)
    (fault,) = caught.value.faults
    assert (fault.path, fault.line) == ("budget[0].limit", 5)
