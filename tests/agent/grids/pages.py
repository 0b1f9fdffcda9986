"""A good answer of every provider, and the ways in which its value, place, unit and time can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from agent.grids import (
    caiso,
    eia,
    electricity_maps,
    energinet,
    energy_charts,
    entsoe,
    joulecar,
    neso,
    rte,
    watttime,
)
from agent.grids.http import Http
from agent.ports import GridProvider
from agent.settings import ProviderSettings

NOW_S = 1_791_255_600.0  # 2026-10-06T03:00:00Z
HOUR_S = 3600.0
Pages = Mapping[str, bytes]  # by path


@dataclass(frozen=True, slots=True)
class Told:
    """What a page is made of. unit is left to the page where None; twice: the last time stands twice."""

    value: Any = 250.0
    zone: str | None = None
    unit: str | None = None
    shift: str = "UTC"  # or "naive", "local": how times are written
    twice: bool = False
    rows: bool = True  # False: the list is empty


@dataclass(frozen=True, slots=True)
class Provider:
    build: Callable[[ProviderSettings, Http], GridProvider]
    zone: str
    pages: Callable[[Told], Pages]
    no_zone: bool = False  # its answers name no zone
    no_unit: bool = False
    no_offset: bool = False  # its times have none to lose


def iso(at_s: float, told: Told, form: str = "%Y-%m-%dT%H:%M") -> str:
    zone = ZoneInfo("Europe/Copenhagen") if told.shift == "local" else UTC
    at = datetime.fromtimestamp(at_s, zone)
    text = at.strftime(form)
    return {"UTC": f"{text}Z", "naive": text, "local": f"{text}+02:00"}[told.shift]


def starts(told: Told, step_s: float, ends_s: float = NOW_S, n: int = 4) -> list[float]:
    found = [ends_s - step_s * k for k in range(n, 0, -1)] if told.rows else []
    return [*found, found[-1]] if told.twice else found


def dumped(data: object) -> bytes:
    return json.dumps(data).encode()


def _electricity_maps(told: Told) -> Pages:
    def row(at_s: float) -> dict[str, Any]:
        return {
            "zone": told.zone or "DK-DK2",
            "carbonIntensity": told.value,
            "datetime": iso(at_s, told),
            "emissionFactorType": told.unit or "lifecycle",
            "isEstimated": False,
            "estimationMethod": None,
            "temporalGranularity": "hourly",
        }

    latest = row(NOW_S - HOUR_S) if told.rows and not told.twice else []
    return {
        "/v4/carbon-intensity/latest": dumped(latest),
        "/v4/carbon-intensity/history": dumped({"zone": "DK-DK2", "history": [row(NOW_S - 2 * HOUR_S)]}),
        "/v4/carbon-intensity/forecast": dumped({"zone": "DK-DK2", "forecast": [row(NOW_S + HOUR_S)]}),
    }


def _watttime(told: Told) -> Pages:
    points = [{"point_time": iso(at_s, told), "value": told.value} for at_s in starts(told, 300.0, NOW_S + 600.0)]
    meta = {"region": told.zone or "CAISO_NORTH", "signal_type": "co2_moer", "units": told.unit or watttime.UNIT}
    return {"/login": dumped({"token": "t0ken"}), "/v3/forecast": dumped({"data": points, "meta": meta})}


def _neso(told: Told) -> Pages:
    slots = [
        {
            "from": iso(at_s, told),
            "to": iso(at_s + 1800.0, told),
            "intensity": {"forecast": told.value, "actual": told.value, "index": "moderate"},
        }
        for at_s in starts(told, 1800.0)
    ]
    since = "2026-10-06T03:00Z"
    return {f"/intensity/{since}/{span}": dumped({"data": slots}) for span in ("fw48h", "pt24h")}


def _energy_charts(told: Told) -> Pages:
    times = [at_s * (1000 if told.shift == "naive" else 1) for at_s in starts(told, 900.0)]
    values = [told.value for _ in times]
    return {"/co2eq": dumped({"unix_seconds": times, "co2eq": values, "co2eq_forecast": [None for _ in times]})}


def _energinet(told: Told) -> Pages:
    def row(at_s: float) -> dict[str, Any]:
        danish = datetime.fromtimestamp(at_s, ZoneInfo("Europe/Copenhagen")).strftime("%Y-%m-%dT%H:%M:%S")
        utc = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return {
            "Minutes5UTC": {"UTC": utc, "naive": danish, "local": f"{danish}+02:00"}[told.shift],
            "Minutes5DK": danish,
            "PriceArea": told.zone or "DK1",
            "CO2Emission": told.value,
        }

    return {"/dataset/CO2Emis": dumped({"total": 4, "records": [row(at_s) for at_s in starts(told, 300.0)]})}


def _rte(told: Told) -> Pages:
    path = f"/api/explore/v2.1/catalog/datasets/{rte.DATASET}/records"
    found = [{"date_heure": iso(at_s, told), "taux_co2": told.value} for at_s in starts(told, 900.0)]
    return {path: dumped({"total_count": len(found), "results": found})}


def _caiso(told: Told) -> Pages:
    """1,000 MW at so many tonnes an hour. Clock times without a date: naive ones are in UTC, local ones of Denmark."""
    zone = {"UTC": "America/Los_Angeles", "naive": "UTC", "local": "Europe/Copenhagen"}[told.shift]
    clocks = [f"{datetime.fromtimestamp(at_s, ZoneInfo(zone)):%H:%M}" for at_s in starts(told, 300.0)]
    value = "" if told.value is None else str(told.value)
    unit = "CO2" if told.unit is None else told.unit
    co2 = [f"Time,Natural Gas {unit},Imports {unit}", *(f"{clock},{value},0" for clock in clocks)]
    supply = ["Time,Solar,Natural Gas,Imports", *(f"{clock},0,1000,0" for clock in clocks)]
    return {caiso.CO2_PATH: "\n".join(co2).encode(), caiso.SUPPLY_PATH: "\n".join(supply).encode()}


def _entsoe(told: Told) -> Pages:
    def series(at_s: float) -> str:
        return (
            f"<TimeSeries><inBiddingZone_Domain.mRID>{told.zone or '10YFR-RTE------C'}</inBiddingZone_Domain.mRID>"
            f"<quantity_Measure_Unit.name>{told.unit or 'MAW'}</quantity_Measure_Unit.name><curveType>A01</curveType>"
            f"<MktPSRType><psrType>B04</psrType></MktPSRType><Period><timeInterval><start>{iso(at_s, told)}</start>"
            f"<end>{iso(at_s + HOUR_S, told)}</end></timeInterval><resolution>PT60M</resolution>"
            f"<Point><position>1</position><quantity>{quantity}</quantity></Point></Period></TimeSeries>"
        )

    quantity = "" if told.value is None else told.value
    whole = "".join(series(at_s) for at_s in starts(told, HOUR_S))
    if told.twice:  # with another value, or it says the same once more
        whole += series(NOW_S - HOUR_S).replace(f"<quantity>{quantity}", "<quantity>9")
    return {entsoe.PATH: f"<GL_MarketDocument>{whole}</GL_MarketDocument>".encode()}


def _eia(told: Told) -> Pages:
    """Of periods that END at the time that they are named by."""
    form = "%Y-%m-%dT%H"
    found = [
        {
            "period": iso(at_s + HOUR_S, told, form).removesuffix("Z"),
            "respondent": told.zone or "CISO",
            "fueltype": "NG",
            "value": told.value,
            "value-units": told.unit or "megawatthours",
        }
        for at_s in starts(told, HOUR_S, NOW_S - 24 * HOUR_S)
    ]
    return {eia.PATH: dumped({"response": {"total": len(found), "frequency": "hourly", "data": found}})}


def _joulecar(told: Told) -> Pages:
    scale = 1000.0 if told.shift == "local" else 1.0
    found = [
        {
            "zone": told.zone or "FR",
            "g_per_kwh": told.value,
            "provider": "rte",
            "signal": "average",
            "basis": told.unit or "direct",
            "kind": "actual",
            "valid_from_s": "2026-10-06T02:00" if told.shift == "naive" else at_s * scale,
            "valid_to_s": at_s * scale + 900.0,
            "fetched_at_s": (NOW_S - 60.0) * scale,
            "source": "eCO2mix",
        }
        for at_s in starts(told, 900.0)
    ]
    return {joulecar.PATH: dumped({"intensities": found})}


PROVIDERS: Mapping[str, Provider] = {
    caiso.NAME: Provider(caiso.CaisoProvider, "US-CA", _caiso, no_zone=True),
    eia.NAME: Provider(eia.EiaProvider, "US-CA", _eia, no_offset=True),
    electricity_maps.NAME: Provider(electricity_maps.ElectricityMapsProvider, "DK2", _electricity_maps),
    energinet.NAME: Provider(energinet.EnerginetProvider, "DK1", _energinet, no_unit=True),
    energy_charts.NAME: Provider(energy_charts.EnergyChartsProvider, "DE", _energy_charts, no_zone=True, no_unit=True),
    entsoe.NAME: Provider(entsoe.EntsoeProvider, "FR", _entsoe),
    joulecar.NAME: Provider(joulecar.JoulecarProvider, "FR", _joulecar),
    neso.NAME: Provider(neso.NesoProvider, "GB", _neso, no_zone=True, no_unit=True),
    rte.NAME: Provider(rte.RteProvider, "FR", _rte, no_zone=True, no_unit=True),
    watttime.NAME: Provider(watttime.WattTimeProvider, "US-CA", _watttime),
}
