"""Energy identification codes (EIC) of the areas that ENTSO-E's platform has generation of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Countries, and the two zones that Denmark is metered as. Source: the platform's own list of areas.
AREAS: Mapping[str, str] = MappingProxyType(
    {
        "AT": "10YAT-APG------L",
        "BA": "10YBA-JPCC-----D",
        "BE": "10YBE----------2",
        "BG": "10YCA-BULGARIA-R",
        "CH": "10YCH-SWISSGRIDZ",
        "CY": "10YCY-1001A0003J",
        "CZ": "10YCZ-CEPS-----N",
        "DE": "10Y1001A1001A83F",
        "DK": "10Y1001A1001A65H",
        "DK-DK1": "10YDK-1--------W",
        "DK-DK2": "10YDK-2--------M",
        "EE": "10Y1001A1001A39I",
        "ES": "10YES-REE------0",
        "FI": "10YFI-1--------U",
        "FR": "10YFR-RTE------C",
        "GE": "10Y1001A1001B012",
        "GR": "10YGR-HTSO-----Y",
        "HR": "10YHR-HEP------M",
        "HU": "10YHU-MAVIR----U",
        "IE": "10YIE-1001A00010",
        "IT": "10YIT-GRTN-----B",
        "LT": "10YLT-1001A0008Q",
        "LU": "10YLU-CEGEDEL-NQ",
        "LV": "10YLV-1001A00074",
        "MD": "10Y1001A1001A990",
        "ME": "10YCS-CG-TSO---S",
        "MK": "10YMK-MEPSO----8",
        "NL": "10YNL----------L",
        "NO": "10YNO-0--------C",
        "PL": "10YPL-AREA-----S",
        "PT": "10YPT-REN------W",
        "RO": "10YRO-TEL------P",
        "RS": "10YCS-SERBIATSOV",
        "SE": "10YSE-1--------K",
        "SI": "10YSI-ELES-----O",
        "SK": "10YSK-SEPS-----K",
        "XK": "10Y1001C--00100H",
    }
)
