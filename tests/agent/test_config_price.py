"""[site.price] and [site.embodied]: what can be written, and every fault of them at once."""

from __future__ import annotations

import pytest

from agent.config import parse
from agent.embodied import S_PER_YEAR
from agent.errors import ConfigError
from agent.settings import EmbodiedSettings, PriceSettings, SiteSettings


def site(text: str) -> SiteSettings:
    return parse(text, env={}).site


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, env={})
    return [str(fault) for fault in caught.value.faults]


def test_without_a_word_there_is_no_price_and_no_embodied_carbon() -> None:
    assert site("[site]\npue = 1.2") == SiteSettings(1.2)
    assert site("[site.price]\n[site.embodied]") == SiteSettings()


def test_a_fixed_price() -> None:
    text = "[site]\npue = 1.2\n[site.price]\nprovider = 'fixed'\nper_kwh = 0.25\ncurrency = 'eur'"
    assert site(text).price == PriceSettings("fixed", "EUR", 0.25)
    assert site(text).pue == 1.2


def test_a_day_ahead_price_with_all_that_comes_on_top() -> None:
    text = (
        "[site.price]\nprovider = 'energinet'\nzone = 'dk1'\ncurrency = 'DKK'\nadd_per_kwh = 1.1\nvat = 0.25\n"
        "base_url = 'http://127.0.0.1:1'\ntimeout = '3s'"
    )
    assert site(text).price == PriceSettings(
        "energinet",
        "DKK",
        zone="DK1",
        add_per_kwh=1.1,
        vat=0.25,
        base_url="http://127.0.0.1:1",
        timeout_s=3.0,
    )


def test_the_currency_of_a_day_ahead_price_is_the_sources_first() -> None:
    found = site("[site.price]\nprovider = 'awattar'\nzone = 'AT'").price
    assert found is not None and found.currency == "EUR"


def test_a_negative_fixed_price_is_legal() -> None:
    found = site("[site.price]\nprovider = 'fixed'\nper_kwh = -0.01\ncurrency = 'EUR'").price
    assert found is not None and found.per_kwh == -0.01


def test_a_price_of_many_small_units_is_no_fault() -> None:
    assert site("[site.price]\nprovider = 'fixed'\nper_kwh = 1500.0\ncurrency = 'IDR'").price is not None


FIXED = "[site.price]\nprovider = 'fixed'\nper_kwh = 0.25\ncurrency = 'EUR'\n"
AHEAD = "[site.price]\nprovider = 'energy_charts'\nzone = 'DE-LU'\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[site]\nprice = 0.25", "site.price: must be a table"),
        ("[site.price]\nper_kwh = 0.25", "site.price.provider: is missing"),
        ("[site.price]\nprovider = 'awatar'", 'did you mean "awattar"?'),
        ("[site.price]\nprovider = 3", "site.price.provider: must be text"),
        ("[site.price]\nprovider = 'fixed'\ncurrency = 'EUR'", "site.price.per_kwh: is missing"),
        ("[site.price]\nprovider = 'fixed'\nper_kwh = 0.2", "site.price.currency: is missing"),
        ("[site.price]\nprovider = 'fixed'\nper_kwh = 0.2\ncurrency = 'euros'", "site.price.currency: is no currency"),
        ("[site.price]\nprovider = 'fixed'\nper_kwh = 250.0\ncurrency = 'EUR'", "not per MWh"),
        ("[site.price]\nprovider = 'fixed'\nper_kwh = nan\ncurrency = 'EUR'", "site.price.per_kwh"),
        (FIXED + "vat = 0.19", "site.price.vat: would do nothing"),
        (FIXED + "base_url = 'http://127.0.0.1:1'", "site.price.base_url: would do nothing"),
        (FIXED + "pre_kwh = 0.19", 'did you mean "per_kwh"?'),
        (AHEAD + "per_kwh = 0.3", "site.price.per_kwh: would do nothing"),
        (AHEAD + "vat = 19.0", "site.price.vat: must be 1 or less"),
        (AHEAD + "currency = 'DKK'", "site.price.currency: is not what energy_charts tells"),
        (AHEAD + "base_url = 'localhost'", "site.price.base_url: must begin with http"),
        (AHEAD + "timeout = '0s'", "site.price.timeout: must be more than 0"),
        (AHEAD + "timeout = 3", "site.price.timeout: must be a duration"),
        (AHEAD + "add_per_kwh = 120.0", "site.price.add_per_kwh: 120 EUR is no price of a kWh"),
        ("[site.price]\nprovider = 'awattar'", "site.price.zone: is missing, but awattar needs it"),
        ("[site.price]\nprovider = 'awattar'\nzone = 'DE'", "(one of DE-LU)"),
        ("[site.price]\nprovider = 'energinet'\nzone = 'FR'", "site.price.zone: is no price zone of energinet"),
        ("[site.embodied]\nenabled = 'on'", "site.embodied.enabled: must be true or false"),
        ("[site.embodied]\nlifetime = '4'", "site.embodied.lifetime: must be a lifetime"),
        ("[site.embodied]\nlifetime = 4", "site.embodied.lifetime: must be a lifetime"),
        ("[site.embodied]\nlifetime = '40y'", "site.embodied.lifetime: is not 0.5 to 30 years"),
        ("[site.embodied]\nlifetime = '4d'", "site.embodied.lifetime: is not 0.5 to 30 years"),
        ("[site.embodied]\nreserved_share = 0.0", "site.embodied.reserved_share: must be more than 0"),
        ("[site.embodied]\nreserved_share = 1.5", "site.embodied.reserved_share: must be 1 or less"),
        ("[site.embodied]\ngpu_kgco2e = -1.0", "site.embodied.gpu_kgco2e: must be 0 or more"),
        ("[site]\nembodied = true", "site.embodied: must be a table"),
    ],
)
def test_a_fault_names_its_place_and_what_to_write(text: str, words: str) -> None:
    found = faults(text)
    assert any(words in fault for fault in found), found
    assert len(found) == 1


def test_every_fault_is_told_at_once_with_its_line() -> None:
    found = faults(
        "[site]\npue = 0.5\n[site.price]\nprovider = 'energinet'\nzone = 'DK3'\ncurrency = 'SEK'\n"
        "[site.embodied]\nlifetime = '400y'\n"
    )
    assert [fault.partition(": ")[0] for fault in found] == ["line 2", "line 5", "line 6", "line 8"]
    assert "one of DK1, DK2" in found[1]


def test_embodied_carbon_is_on_where_it_is_switched_on() -> None:
    assert site("[site.embodied]\nenabled = true").embodied == EmbodiedSettings(4 * S_PER_YEAR)
    assert site("[site.embodied]\nlifetime = '3y'\ngpu_kgco2e = 164.0").embodied is None


def test_embodied_carbon_takes_your_own_figures_and_life() -> None:
    text = (
        "[site.embodied]\nenabled = true\nlifetime = '1095.75d'\ngpu_kgco2e = 100.0\nserver_kgco2e = 3000.0\n"
        "reserved_share = 0.5"
    )
    assert site(text).embodied == EmbodiedSettings(3 * S_PER_YEAR, 100.0, 3000.0, 0.5)
