"""Asks a server which country our address seems to be in. Off unless the configuration names the server.

It learns our address, and answers for the way out of the network: a VPN's or a head office's country. So it is the last
resort, and no more than a country is taken from it.
"""

from __future__ import annotations

import json

from agent.errors import JoulecarError, ReadFailed
from agent.grids.http import Http, body_of
from agent.grids.zones import ZoneKind, resolve
from agent.model import Located

NAME = "geoip"
TIMEOUT_S = 2.0
_KEYS = ("country_code", "countryCode", "country_iso", "country")


def ask(http: Http, url: str) -> Located:
    """The country: two letters as text, or as JSON under one of the usual keys. Does not raise."""
    try:
        code = _code(body_of(http.get(url, params={}, headers={}, timeout_s=TIMEOUT_S), NAME))
        zone = resolve(code)
    except JoulecarError as error:
        return Located(detail=str(error) if str(error).startswith(NAME) else f"{NAME}: {error}")
    if zone.kind is not ZoneKind.COUNTRY:
        return Located(detail=f"{NAME}: {code!r} is not a country")
    return Located(zone.code, NAME, "the country that this machine's address seems to be in")


def _code(body: bytes) -> str:
    text = body[:4096].decode("utf-8", "replace").strip()
    if text.startswith("{"):
        try:
            data = json.loads(text)
        except ValueError:
            raise ReadFailed(f"{NAME}: an answer that is no JSON") from None
        text = next((data[key] for key in _KEYS if isinstance(data.get(key), str)), "")
    if len(text) != 2 or not (text.isascii() and text.isalpha()):
        raise ReadFailed(f"{NAME}: an answer without a country of two letters")
    return text
