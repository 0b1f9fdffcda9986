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

from agent import config_docs, config_grid
from agent import config_model as model
from agent import config_rules as rules
from agent.config_faults import at, unknown_key
from agent.config_lines import line_of, lines_of
from agent.errors import ConfigError, ConfigFault
from agent.settings import EngineSettings, Settings

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
    origin = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _one(origin, origin, f"cannot be read: {error.strerror}", "name a TOML file with --config") from None
    if len(content) > MAX_FILE_BYTES:
        raise _one(origin, origin, "is larger than 1 MiB", "this is not Joulecar's configuration")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _one(origin, f"line {line}", "is not UTF-8 text", "save the file as UTF-8") from None
    return parse(text, env=env, origin=origin, overrides=overrides)


def parse(text: str, *, env: Mapping[str, str], origin: str = "", overrides: Overrides = NOTHING) -> Settings:
    """The settings of a TOML text. Raises ConfigError with every fault; origin says where the text is from."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _one(origin, "TOML", str(error), "the file cannot be read beyond this") from None
    except RecursionError:
        raise _one(origin, "TOML", "is nested too deeply") from None
    report = rules.Report()
    settings = _settings(raw, env, overrides, report)
    if report.faults:
        lines = lines_of(text)
        placed = (replace(fault, line=line_of(fault.path, lines)) for fault in dict.fromkeys(report.faults))
        raise ConfigError(tuple(sorted(placed, key=_place)), origin)
    return settings


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
    listed = raw.get("engine", [])
    if not isinstance(listed, list):
        report.add("engine", "must be a list of tables", "write [[engine]], with two brackets")
        listed = []
    checked = [rules.check(model.Engine, one, at("engine", n), report) for n, one in enumerate(listed)]
    from_file = rules.engines(checked, report, env, engine_kinds)
    return Settings(
        agent=agent,
        server=rules.server(table("server", model.Server), report, env, overrides.listen),
        sources=rules.sources(table("sources", model.Sources), report),
        engines=_with_urls(from_file, overrides.engines, report),
        attribution=rules.attribution(table("attribution", model.Attribution), window_s, report),
        grid=config_grid.grid(raw.get("grid", {}), env, report),
        site=rules.site(table("site", model.Site)),
        headline=rules.headline(table("headline", model.Headline), window_s, report),
    )


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
