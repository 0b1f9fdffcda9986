"""The configuration: one TOML file, the environment for secrets, and what the command line adds.

Either a complete Settings comes out, or a ConfigError that names every fault at once.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent import config_budget, config_docs, config_embodied, config_grid, config_otlp, config_price
from agent import config_model as model
from agent import config_rules as rules
from agent.config_faults import at, unknown_key
from agent.config_lines import line_of, lines_of
from agent.errors import ConfigError, ConfigFault
from agent.settings import BudgetSettings, EngineSettings, Settings, SiteSettings

MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says: engines besides those of the file, and an address instead of the file's."""

    engines: tuple[str, ...] = ()  # URLs
    listen: str | None = None


NOTHING = Overrides()


def load(path: Path | None, *, env: Mapping[str, str], overrides: Overrides = NOTHING) -> Settings:
    """The settings of a file; None: no file, so the defaults. Raises ConfigError with every fault."""
    if path is None:
        return parse("", env=env, origin="", overrides=overrides)
    return parse(_read(path), env=env, origin=str(path), overrides=overrides)


def parse(text: str, *, env: Mapping[str, str], origin: str = "", overrides: Overrides = NOTHING) -> Settings:
    """The settings of a TOML text. Raises ConfigError with every fault; origin says where the text is from."""
    raw = _tables(text, origin)
    report = rules.Report()
    settings = _settings(raw, env, overrides, report)
    _must_be_faultless(report, text, origin)
    return settings


def load_budgets(path: Path) -> tuple[BudgetSettings, ...]:
    """The budgets of a file, and no more of it: whoever writes rules has neither its secrets nor its directories.

    Raises ConfigError with every fault of the budgets.
    """
    text = _read(path)
    report = rules.Report()
    found = config_budget.budgets(_listed("budget", model.Budget, _tables(text, str(path)), report), None, report)
    _must_be_faultless(report, text, str(path))
    return found


def _read(path: Path) -> str:
    origin = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _one(origin, origin, f"cannot be read: {error.strerror}", "name a TOML file with --config") from None
    if len(content) > MAX_FILE_BYTES:
        raise _one(origin, origin, "is larger than 1 MiB", "this is not Joulecar's configuration")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _one(origin, f"line {line}", "is not UTF-8 text", "save the file as UTF-8") from None


def _tables(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _one(origin, "TOML", str(error), "the file cannot be read beyond this") from None
    except RecursionError:
        raise _one(origin, "TOML", "is nested too deeply") from None


def _must_be_faultless(report: rules.Report, text: str, origin: str) -> None:
    if report.faults:
        lines = lines_of(text)
        placed = (replace(fault, line=line_of(fault.path, lines)) for fault in dict.fromkeys(report.faults))
        raise ConfigError(tuple(sorted(placed, key=_place)), origin)


def default_toml() -> str:
    """The commented example file: every key, its default, its unit and what it does."""
    return config_docs.default_toml(engine_kinds())


def json_schema() -> str:
    """JSON schema of the file."""
    return config_docs.json_schema(engine_kinds())


def _place(fault: ConfigFault) -> tuple[float, int]:
    """Faults in the order of the file's lines, then of the tables; the command line last."""
    table = fault.path.partition(".")[0].partition("[")[0]
    order = list(model.Config.model_fields)
    return fault.line or math.inf, order.index(table) if table in order else len(order)


def engine_from_url(url: str, taken: Container[str]) -> EngineSettings:
    """An engine of the command line: every default, named by its host and port. Raises ConfigError."""
    wrong = rules.url_fault(url.strip())
    if wrong is not None:
        raise _one("", "--engine", *wrong)
    return EngineSettings(name=rules.url_name(url.strip(), taken), url=url.strip())


def _settings(raw: dict[str, Any], env: Mapping[str, str], overrides: Overrides, report: rules.Report) -> Settings:
    for key in raw:
        if key not in model.Config.model_fields:
            report.faults.append(unknown_key("", key, model.Config))

    def table(name: str, kind: type[rules.M]) -> rules.Checked[rules.M]:
        return rules.check(kind, raw.get(name, {}), name, report)

    agent = rules.agent(table("agent", model.Agent), report)
    window_s = agent.window_s
    from_file = rules.engines(_listed("engine", model.Engine, raw, report), report, env, engine_kinds)
    site = _site(raw.get("site", {}), report)
    return Settings(
        agent=agent,
        server=rules.server(table("server", model.Server), report, env, overrides.listen),
        sources=rules.sources(table("sources", model.Sources), report),
        engines=_with_urls(from_file, overrides.engines, report),
        attribution=rules.attribution(table("attribution", model.Attribution), window_s, report),
        grid=config_grid.grid(raw.get("grid", {}), env, report),
        site=site,
        budgets=config_budget.budgets(_listed("budget", model.Budget, raw, report), site, report),
        headline=rules.headline(table("headline", model.Headline), window_s, report),
        otlp=config_otlp.otlp(table("otlp", model.Otlp), report, env),
    )


def _site(raw: object, report: rules.Report) -> SiteSettings:
    """[site], and the tables below it, each by itself."""
    below = raw if isinstance(raw, dict) else {}
    own = {key: value for key, value in below.items() if key not in ("price", "embodied")} if below else raw
    return replace(
        rules.site(rules.check(model.Site, own, "site", report)),
        price=config_price.price(below.get("price", {}), report),
        embodied=config_embodied.embodied(below.get("embodied", {}), report),
    )


def _listed(
    name: str, kind: type[rules.M], raw: Mapping[str, Any], report: rules.Report
) -> list[rules.Checked[rules.M]]:
    """The tables of a list, [[name]]."""
    listed = raw.get(name, [])
    if not isinstance(listed, list):
        report.add(name, "must be a list of tables", f"write [[{name}]], with two brackets")
        return []
    return [rules.check(kind, one, at(name, n), report) for n, one in enumerate(listed)]


def _with_urls(
    configured: tuple[EngineSettings, ...], urls: tuple[str, ...], report: rules.Report
) -> tuple[EngineSettings, ...]:
    """The engines of the file and those of --engine, which must not be the same server twice."""
    built = list(configured)
    for url in urls:
        try:
            added = engine_from_url(url, {engine.name for engine in built})
        except ConfigError as error:
            report.faults += error.faults
            continue
        if any(rules.same_server(engine.url, added.url) for engine in built):
            report.add("--engine", "a server is listed already", "list each server once")
        else:
            built.append(added)
    return tuple(built)


def engine_kinds() -> Collection[str]:
    """The kinds of engine there are. Imported here alone, since the readers bring an HTTP client along."""
    from agent.engines.table import ENGINES  # noqa: PLC0415

    return tuple(ENGINES)


def _one(origin: str, path: str, message: str, suggestion: str = "") -> ConfigError:
    return ConfigError((ConfigFault(path, message, suggestion),), origin)
