"""Headline ratios: ledger differences over sliding windows. No tokens in a window means no number, not 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from agent.model import Headline, Ledger, TokenType, Use

POINTS_PER_WINDOW = 60  # how finely a window slides; bounds what is remembered
BOUNDARIES = ("active", "serving", "facility")
ACTIVE = (Use.PREFILL, Use.DECODE)
SERVING = (*ACTIVE, Use.IDLE)

Who = tuple[str, str]  # engine, model


@dataclass(slots=True)
class Sums:
    """What the ratios of one engine and model are made of."""

    active_j: float = 0.0
    serving_j: float = 0.0
    overhead_j: float = 0.0
    active_g: float = 0.0
    serving_g: float = 0.0
    facility_g: float = 0.0
    embodied_g: float = 0.0
    cost: float = 0.0  # charges less credits
    generated: float = 0.0
    tokens: float = 0.0
    requests: float = 0.0
    priced: float = 0.0  # entries that a grid intensity was known for
    made: float = 0.0  # entries that have embodied grams
    costed: float = 0.0  # entries that a price was known for

    def minus(self, then: Sums) -> Sums:
        return Sums(*(getattr(self, f.name) - getattr(then, f.name) for f in fields(Sums)))


@dataclass(frozen=True, slots=True)
class Past:
    """The sums as they stood at earlier moments, for one window; oldest first."""

    label: str
    window_s: float
    points: tuple[tuple[float, Mapping[Who, Sums]], ...]  # mono_s, sums; never changed


def begin(windows: Sequence[tuple[str, float]], mono_s: float) -> tuple[Past, ...]:
    return tuple(Past(label, seconds, ((mono_s, {}),)) for label, seconds in windows)


def remember(pasts: Sequence[Past], mono_s: float, now: Mapping[Who, Sums]) -> tuple[Past, ...]:
    """Keep one point per sixtieth of each window, and one that is older than the window."""
    return tuple(_remember(past, mono_s, now) for past in pasts)


def _remember(past: Past, mono_s: float, now: Mapping[Who, Sums]) -> Past:
    points = past.points
    if mono_s - points[-1][0] < past.window_s / POINTS_PER_WINDOW * (1 - 1e-6):
        return past
    points = (*points, (mono_s, now))
    first = 0
    while first + 1 < len(points) and points[first + 1][0] <= mono_s - past.window_s * (1 - 1e-9):
        first += 1
    return Past(past.label, past.window_s, points[first:])


def sums(ledger: Ledger) -> dict[Who, Sums]:
    """One pass over the books."""
    out: dict[Who, Sums] = {}

    def of(engine: str, model: str) -> Sums:
        return out.setdefault((engine, model), Sums())

    for (engine, model, use, _), energy_j in ledger.energy_j.items():
        of(engine, model).active_j += energy_j if use in ACTIVE else 0.0
        of(engine, model).serving_j += energy_j if use in SERVING else 0.0
    for (engine, model, use), energy_j in ledger.overhead_j.items():
        of(engine, model).overhead_j += energy_j if use in SERVING else 0.0
    for (engine, model, use), grams in ledger.it_gco2e.items():
        of(engine, model).active_g += grams if use in ACTIVE else 0.0
        of(engine, model).serving_g += grams if use in SERVING else 0.0
    for (engine, model, use), grams in ledger.facility_gco2e.items():
        of(engine, model).facility_g += grams if use in SERVING else 0.0
        of(engine, model).priced += 1
    for (engine, model, use), grams in ledger.embodied_gco2e.items():
        of(engine, model).embodied_g += grams if use in SERVING else 0.0
        of(engine, model).made += 1
    for (engine, model, use), amount in ledger.cost.items():
        of(engine, model).cost += amount if use in SERVING else 0.0
        of(engine, model).costed += 1
    for (engine, model, use), amount in ledger.credit.items():
        of(engine, model).cost -= amount if use in SERVING else 0.0
    for (engine, model, kind), count in ledger.tokens.items():
        of(engine, model).generated += count if kind is TokenType.GENERATED else 0.0
        of(engine, model).tokens += count
    for (engine, model, _), count in ledger.requests.items():
        of(engine, model).requests += count
    return out


def headlines(pasts: Sequence[Past], now: Mapping[Who, Sums], pue: float) -> tuple[Headline, ...]:
    """Every ratio of every window, boundary, engine and model that has something to divide by.

    pue multiplies at this conversion only; the sums hold joules of the machine itself.
    """
    out: list[Headline] = []
    for past in pasts:
        then = past.points[0][1]
        for (engine, model), total in sorted(now.items()):
            grown = total.minus(then.get((engine, model)) or Sums())
            if grown.tokens <= 0 and grown.requests <= 0:
                continue
            for boundary in BOUNDARIES:
                energy_j, grams = _bounded(grown, boundary, pue)
                if energy_j > 0:
                    grams = grams if total.priced else None
                    ratios = _headline((engine, model), past.label, boundary, grown, energy_j, grams)
                    out.append(_whole(ratios, total, grown) if boundary == "facility" else ratios)
    return tuple(out)


def _bounded(s: Sums, boundary: str, pue: float) -> tuple[float, float | None]:
    """Joules and grams inside a boundary."""
    if boundary == "active":
        return s.active_j, s.active_g
    if boundary == "serving":
        return s.serving_j, s.serving_g
    return (s.serving_j + s.overhead_j) * pue, s.facility_g


def _headline(who: Who, window: str, boundary: str, s: Sums, energy_j: float, grams: float | None) -> Headline:
    return Headline(
        *who,
        window,
        boundary,
        generated_per_joule=_ratio(s.generated, energy_j),
        all_per_joule=_ratio(s.tokens, energy_j),
        joules_per_request=_ratio(energy_j, s.requests),
        gco2e_per_1k_generated=_per_1k(grams, s.generated),
        gco2e_per_1k_all=_per_1k(grams, s.tokens),
    )


def _whole(ratios: Headline, total: Sums, s: Sums) -> Headline:
    """With what only the whole facility has: SCI = (O + M) / R (ISO/IEC 21031:2024), R being 1,000 tokens, and money.
    Without embodied grams there is no SCI: operation alone is joulecar_gco2e_per_1k_tokens."""
    sci_g = s.facility_g + s.embodied_g if total.priced and total.made else None
    cost = s.cost if total.costed else None
    return replace(
        ratios,
        sci_per_1k_generated=_per_1k(sci_g, s.generated),
        sci_per_1k_all=_per_1k(sci_g, s.tokens),
        cost_per_1k_generated=_per_1k(cost, s.generated),
        cost_per_1k_all=_per_1k(cost, s.tokens),
    )


def _ratio(over: float, under: float) -> float | None:
    """None where either is 0: nothing was counted."""
    return over / under if over > 0 and under > 0 else None


def _per_1k(grams: float | None, tokens: float) -> float | None:
    """None: not priced, or no tokens. 0 g is a number: a grid can be that clean."""
    return 1000 * grams / tokens if grams is not None and tokens > 0 else None
