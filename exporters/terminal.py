"""The snapshot as a table for people, at 80 columns and more. Every number says how it is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from agent.model import DeviceKind, GridIntensity, Method, Snapshot, TokenType, Use
from exporters.page import Page, Text, ago, fit, number
from exporters.summary import DeviceSummary, ModelSummary, Summary, ratio, summarise
from exporters.text import clean

MODELS_SHOWN = 12
_NARROWEST = 72

_COLUMNS = (("gen/s", 9), ("prompt/s", 9), ("cached/s", 9), ("tok/J", 8), ("J/req", 8), ("g/1k", 9))
_LEGEND = (
    "tokens by the engine's counters: generated, prompt computed, prompt cached",
    "tok/J: generated tokens, J/req: requests, for prefill + decode + idle",
    "g/1k: gCO2e per 1,000 generated tokens, with overhead and PUE",
    "-: not known",
)


def render(snapshot: Snapshot, previous: Snapshot | None, *, colour: bool, width: int, simulated: bool = False) -> str:
    """The table for what happened since previous; with no previous, totals since the start and no rates.

    simulated: the readings are replayed or made up, and every section says so. Ends in a line break.
    """
    page = Page(colour, max(width, _NARROWEST), simulated)
    summary = summarise(snapshot, previous)
    sections = (
        [_title(page, snapshot, summary)],
        _devices(page, summary),
        _models(page, snapshot, summary),
        _uses(page, summary),
        _footer(page, snapshot, summary),
    )
    return "\n".join(text for section in sections if (text := "".join(line.rstrip() + "\n" for line in section)))


def _title(page: Page, snapshot: Snapshot, summary: Summary) -> str:
    when = datetime.fromtimestamp(snapshot.at.wall_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    span = "since the start" if summary.window_s is None else f"last {summary.window_s:.1f} s"
    return f"{page.title('Joulecar').painted}  {when}  {span}"


def _devices(page: Page, summary: Summary) -> Iterator[str]:
    known_width = 22 if page.simulated else 12
    left = page.width - 20 - 2 - known_width
    yield page.heading("DEVICE", f"{'watts':>10}{'joules':>10}  {'known by':<{known_width}}")
    if not summary.devices:
        yield page.text("  none can be read: `joulecar check` says why", "bad").painted
    for d in summary.devices:
        cells = f"{number(d.state.power_w if d.state else None):>10}{number(d.energy_j):>10}"
        known = page.known(d.state.method) if d.state else page.text("gone now", "bad")
        yield f"  {fit(_label(d), left - 2)}{cells}  {known.painted}"
    if len(summary.devices) > 1:
        powers = [d.state.power_w for d in summary.devices if d.state]
        watts = [power for power in powers if power is not None]
        # What some device did not say is not 0: the sum is then a lower bound.
        power = (">" if len(watts) < len(powers) else "") + number(sum(watts)) if watts else "-"
        joules = [d.energy_j for d in summary.devices if d.energy_j is not None]
        yield f"  {fit('sum', left - 2)}{power:>10}{number(sum(joules)) if joules else '-':>10}"


def _label(d: DeviceSummary) -> str:
    index = "" if d.state is None or d.state.index is None else f" {d.state.index}"
    name = d.state.name if d.state else ""
    return f"{d.device.kind + index:<6} {clean(name or d.device.key)}"


def _models(page: Page, snapshot: Snapshot, summary: Summary) -> Iterator[str]:
    owned = [m for m in summary.models if m.engine]
    shown = owned[:MODELS_SHOWN]
    left = page.width - sum(size for _, size in _COLUMNS)
    yield page.heading("MODEL", "".join(f"{name:>{size}}" for name, size in _COLUMNS))
    if not snapshot.engines and not owned:
        yield page.text("  no engine is read: give one with --engine URL", "dim").painted
    for engine in dict.fromkeys([m.engine for m in owned] + [e.engine for e in snapshot.engines]):
        mine = [m for m in shown if m.engine == engine]
        yield from _engine(page, snapshot, engine, mine)
        for m in mine:
            values = (
                ratio(m.tokens.get(TokenType.GENERATED), summary.window_s),
                ratio(m.tokens.get(TokenType.PROMPT_COMPUTED), summary.window_s),
                ratio(m.tokens.get(TokenType.PROMPT_CACHED), summary.window_s),
                m.tokens_per_joule(),
                m.joules_per_request(),
                m.gco2e_per_1k_tokens(),
            )
            cells = "".join(f"{number(v):>{size}}" for v, (_, size) in zip(values, _COLUMNS, strict=True))
            yield f"    {fit(clean(m.model), left - 4)}{cells}"
    if len(owned) > len(shown):
        yield page.text(f"  and {len(owned) - len(shown)} more models", "dim").painted
    if owned:
        yield from page.flow(page.text("  "), (page.text(f"{line};", "dim") for line in _LEGEND[:-1]), 2)
        yield page.text(f"  {_LEGEND[-1]}", "dim").painted


def _engine(page: Page, snapshot: Snapshot, engine: str, models: Sequence[ModelSummary]) -> Iterator[str]:
    """The engine's name, what it is, and how its models' joules are known."""
    state = next((e for e in snapshot.engines if e.engine == engine), None)
    what = " ".join(clean(part) for part in (state.kind, state.version) if part) if state is not None else ""
    kinds: dict[Method, dict[DeviceKind, None]] = {}
    for m in models:
        for kind, methods in m.known_by.items():
            for method in methods:
                kinds.setdefault(method, {})[kind] = None
    ways = [page.known(method) + page.text(f" ({', '.join(kinds[method])})") for method in Method if method in kinds]
    known = [way + page.text(",") for way in ways[:-1]] + ways[-1:] or [page.text("nothing booked yet", "dim")]
    lead = page.text("joules by", "dim") if ways else page.text("")
    start = page.text(f"  {clean(engine)}{f' ({what})' if what else ''}: ")
    yield from page.flow(start, [lead, *known] if ways else known, 6)


def _uses(page: Page, summary: Summary) -> Iterator[str]:
    if summary.booked_j <= 0 and summary.pending_j <= 0:
        return
    left = min(max(page.width // 3, 24), 44)
    bar = page.width - left - 35
    yield page.heading("JOULES BY USE", f"{'joules':>10}{'share':>8}{'':<{bar + 3}}")
    owned = [m for m in summary.models if m.engine]
    rows: list[tuple[str, str, float]] = []
    for m in owned[:MODELS_SHOWN] + [m for m in summary.models if not m.engine]:
        owner = clean(f"{m.engine} {m.model}") if m.engine else "nobody"
        for use, joules in m.energy_j.items():
            if joules > 0:
                rows.append((owner, use.value, joules))
                owner = ""
    rest = sum(m.energy_of(Use) for m in owned[MODELS_SHOWN:])
    if rest > 0:
        rows.append((f"{len(owned) - MODELS_SHOWN} more models", "all uses", rest))
    for owner, label, joules in rows:
        share = joules / summary.booked_j
        drawn = page.text("█" * round(bar * share), "bar").painted
        yield f"  {fit(owner, left - 3)} {label:<14}{number(joules):>10}{share:>8.1%}   {drawn}"
    if summary.pending_j > 0:
        yield f"  {fit('waiting for its tokens', left - 3)} {'pending':<14}{number(summary.pending_j):>10}"


def _footer(page: Page, snapshot: Snapshot, summary: Summary) -> Iterator[str]:
    yield from page.flow(page.title("GRID") + page.text("  "), _grid(page, snapshot.grid, snapshot), 6)
    for d in summary.devices:
        for reason, gap_s in d.gaps_s.items():
            device = clean(f"{d.device.kind} {d.device.key}")
            pieces = (f"{device}:", f"energy of {number(gap_s)} s not known:", clean(reason))
            yield from page.flow(page.text("GAP", "bad") + page.text("   "), map(page.text, pieces), 6)
    for p in snapshot.parts:
        if not p.up:
            message = f"{p.part} {clean(p.name)}: {clean(p.message) or 'no reason given'}"
            yield from page.flow(page.text("DOWN", "bad") + page.text("  "), map(page.text, message.split(" ")), 6)
            if p.fix:
                yield from page.flow(page.text("      "), map(page.text, f"fix: {clean(p.fix)}".split(" ")), 11)


def _grid(page: Page, grid: GridIntensity | None, snapshot: Snapshot) -> Iterator[Text]:
    if grid is None:
        yield page.text("no carbon intensity, so no grams: set grid.zone", "dim")
        return
    age = "" if grid.fetched_at_s is None else f", {ago(snapshot.at.wall_s - grid.fetched_at_s)} old"
    yield page.text(f"{clean(grid.zone)}: {number(grid.g_per_kwh)} gCO2e/kWh by {clean(grid.provider)}")
    yield page.text(f"({grid.kind}, {grid.signal}, {grid.basis}{age})", "dim")
    yield page.text(f"PUE {snapshot.pue:g}")
    if snapshot.node_overhead_w:
        yield page.text(f"overhead {number(snapshot.node_overhead_w)} W")
