"""What the grid's final figures make of grams that are booked already.

The counter of grams never goes back: an hour that is told anew, and an hour that was told by nobody at first, leave
a difference, which a report adds and a gauge shows. Only whole pieces of 5 minutes are settled, of the same zone, at
statements that were measured or estimated for that very time; a forecast settles nothing.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Collection, Sequence

from agent.carbon import price
from agent.model import GridIntensity
from agent.store.rollups import FINE_S

Difference = dict[tuple[str, str], float]  # engine, model -> gCO2e


def settle(db: sqlite3.Connection, final: Sequence[GridIntensity], since_s: float = 0.0) -> Difference:
    """Price booked energy at final statements. Gives what this adds to the differences so far. In the caller's
    transaction. since_s: what was booked and priced to pieces before stays as it is (Unix seconds)."""
    out: Difference = {}
    if not final:
        return out
    zones = {e.zone for e in final}
    told: dict[int, list[GridIntensity]] = {}
    for e in final:
        for start_s in range(int(e.valid_from_s) // FINE_S * FINE_S, math.ceil(e.valid_to_s), FINE_S):
            told.setdefault(start_s, []).append(e)
    for start_s in sorted(told):
        priced = price(1.0, start_s, start_s + FINE_S, told[start_s])
        if priced.unpriced_j <= 1e-9:  # else it waits for the rest of its time to be told
            _settle_piece(db, start_s, priced.gco2e, zones | {""} if start_s >= since_s else {""}, out)
    return out


def _settle_piece(
    db: sqlite3.Connection, start_s: int, g_per_j: float, zones: Collection[str], out: Difference
) -> None:
    """One piece of time, of what was priced in these zones ("": in none). Of nine days with many models there are
    more rows than may be held at once."""
    rows = db.execute(
        "SELECT zone, kind, engine, model, use, facility_j, gco2e, settled_gco2e FROM energy"
        " WHERE start_s = ? AND width_s = ? AND facility_j > 0",
        (start_s, FINE_S),
    ).fetchall()
    changes = []
    for zone, kind, engine, model, use, facility_j, booked_g, settled_g in rows:
        if zone not in zones:
            continue
        final_g, before_g = facility_j * g_per_j, settled_g if settled_g is not None else booked_g or 0.0
        if settled_g is None or abs(final_g - settled_g) > 1e-12:
            changes.append((final_g, start_s, FINE_S, zone, kind, engine, model, use))
            out[engine, model] = out.get((engine, model), 0.0) + final_g - before_g
    db.executemany(
        "UPDATE energy SET settled_gco2e = ? WHERE start_s = ? AND width_s = ? AND zone = ? AND kind = ?"
        " AND engine = ? AND model = ? AND use = ?",
        changes,
    )
