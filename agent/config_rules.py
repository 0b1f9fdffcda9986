"""From the file's tables to agent.settings: what each key means, and which values cannot stand together.

Every function adds what is wrong to the report and goes on with a default, so that one run names every fault.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationError

from agent import config_model as model
from agent import config_types as types
from agent.config_faults import at, did_you_mean, from_validation
from agent.config_secrets import SecretError, read_secret
from agent.errors import ConfigFault, ReadFailed
from agent.settings import (
    AgentSettings,
    AttributionSettings,
    EngineSettings,
    HeadlineSettings,
    RecordSettings,
    Secret,
    ServerSettings,
    SiteSettings,
    SourcesSettings,
)

MIN_EVERY_S = 0.1
MIN_RECORD_BYTES = 1_000_000

M = TypeVar("M", bound=model.Section)

DEFAULT_SERVER = ServerSettings()


@dataclass(slots=True)
class Report:
    """The faults found so far."""

    faults: list[ConfigFault] = field(default_factory=list)

    def add(self, path: str, message: str, suggestion: str = "") -> None:
        self.faults.append(ConfigFault(path, message, suggestion))


@dataclass(frozen=True, slots=True)
class Checked(Generic[M]):
    """A table with each faulty key set back to its default; bad names those keys."""

    path: str
    value: M
    bad: frozenset[str]

    def good(self, *keys: str) -> bool:
        return not self.bad.intersection(keys)

    def at(self, key: str) -> str:
        return at(self.path, key)


def check(kind: type[M], raw: object, path: str, report: Report) -> Checked[M]:
    """Types and ranges of one table."""
    if not isinstance(raw, dict):
        name, bracket, _ = path.partition("[")  # engine[0]: one of a list
        report.add(path, "must be a table", f"write [[{name}]]" if bracket else f"write [{path}] and its keys below")
        return Checked(path, kind(), frozenset(kind.model_fields))
    try:
        return Checked(path, kind.model_validate(raw), frozenset())
    except ValidationError as error:
        report.faults += from_validation(error, path, kind)
        bad = frozenset(str(details["loc"][0]) for details in error.errors(include_url=False))
    return Checked(path, kind.model_validate({key: value for key, value in raw.items() if key not in bad}), bad)


def agent(table: Checked[model.Agent], report: Report) -> AgentSettings:
    value = table.value
    interval_s, window_s = duration_s(value.interval), duration_s(value.window)
    if interval_s < MIN_EVERY_S:
        report.add(table.at("interval"), "is shorter than 100ms", "counters move no faster: use 100ms or more")
    if table.good("interval", "window") and window_s < interval_s:
        report.add(
            table.at("window"),
            f"is shorter than the interval of {value.interval}",
            f'write window = "{value.interval}" or more',
        )
    state_dir = Path(value.state_dir) if value.state_dir else None
    if state_dir is not None and not os.access(state_dir, os.W_OK | os.X_OK):
        report.add(table.at("state_dir"), "is no directory that can be written", f"mkdir -p {state_dir}, and its owner")
    max_bytes = types.size_bytes(value.record_max) or 0
    if max_bytes < MIN_RECORD_BYTES:
        report.add(table.at("record_max"), "is smaller than 1MB", "a tick alone may have 100 kB")
    record = RecordSettings(max_bytes, value.record_keep, value.record_redact)
    return AgentSettings(interval_s, window_s, state_dir, value.log_level, record)


def server(table: Checked[model.Server], report: Report, env: Mapping[str, str], listen: str | None) -> ServerSettings:
    value = table.value
    where, text = (table.at("listen"), value.listen) if listen is None else ("--listen", listen)
    host, port = _listen(where, text, report)
    if bool(value.tls_cert) != bool(value.tls_key) and table.good("tls_cert", "tls_key"):
        lacks, has = ("tls_key", "tls_cert") if value.tls_cert else ("tls_cert", "tls_key")
        report.add(table.at(lacks), f"is missing, but {has} is set", "set both, or neither for plain HTTP")
    for key, path in (("tls_cert", value.tls_cert), ("tls_key", value.tls_key)):
        _must_be_file(table.at(key), path, report)
    env_key, file_key = "basic_auth_password_env", "basic_auth_password_file"
    password = secret(
        table, value.basic_auth_password_env, value.basic_auth_password_file, (env_key, file_key), env, report
    )
    has_password = bool(value.basic_auth_password_env or value.basic_auth_password_file)
    if table.good("basic_auth_user", env_key, file_key):
        if value.basic_auth_user and not has_password:
            report.add(table.at("basic_auth_user"), "has no password", f"set {env_key} or {file_key}")
        if has_password and not value.basic_auth_user:
            report.add(table.at("basic_auth_user"), "is missing, but a password is set", "name the user")
        if ":" in value.basic_auth_user:
            report.add(table.at("basic_auth_user"), "must not contain a colon", "HTTP cannot carry it")
    return ServerSettings(
        host=host,
        port=port,
        tls_cert=_path(value.tls_cert),
        tls_key=_path(value.tls_key),
        basic_auth_user=value.basic_auth_user,
        basic_auth_password=password,
        max_connections=value.max_connections,
    )


def sources(table: Checked[model.Sources], report: Report) -> SourcesSettings:
    value = table.value
    if not value.sysfs.startswith("/"):
        report.add(table.at("sysfs"), "must be an absolute path", 'write "/sys", or where the host\'s is mounted')
    return SourcesSettings(Path(value.sysfs), value.nvml, value.rapl, value.host, value.cpu_tdp_w)


def engines(
    tables: Sequence[Checked[model.Engine]],
    report: Report,
    env: Mapping[str, str],
    kinds: Callable[[], Collection[str]],
) -> tuple[EngineSettings, ...]:
    """Engines in the order of the file, each with a name of its own."""
    built: list[EngineSettings] = []
    named = {table.value.name for table in tables if table.value.name}
    seen: dict[str, str] = {}
    servers: dict[str, str] = {}
    for table in tables:
        value = table.value
        url = _url(table, report)
        name = value.name or (_url_name(url, named.union(seen)) if url else table.path)
        if name in seen:
            report.add(table.at("name"), f"is the name of {seen[name]} too", "give every engine its own name")
        seen.setdefault(name, table.path)
        if url:
            address = _address(url)
            if address in servers:
                report.add(table.at("url"), f"is the server of {servers[address]} too", "list each server once")
            servers.setdefault(address, table.path)
        built.append(_engine(table, name, report, env, kinds))
    return tuple(built)


def _engine(
    table: Checked[model.Engine],
    name: str,
    report: Report,
    env: Mapping[str, str],
    kinds: Callable[[], Collection[str]],
) -> EngineSettings:
    value = table.value
    if value.kind != "auto" and value.kind not in kinds():
        report.add(
            table.at("kind"), "is no kind of engine that Joulecar knows", did_you_mean(value.kind, ["auto", *kinds()])
        )
    if value.kind == "custom" and not value.custom and table.good("custom"):
        report.add(table.at("custom"), "is missing", 'write custom = { generated = "my_tokens_total" }')
    elif value.kind == "custom":
        _must_name_metrics(table, report)
    if value.custom and value.kind != "custom" and table.good("kind"):
        report.add(table.at("custom"), f'is used only with kind = "custom", and kind is "{value.kind[:32]}"')
    if duration_s(value.every) < MIN_EVERY_S:
        report.add(table.at("every"), "is shorter than 100ms", "the engine pays for every scrape: 1s or more")
    if not 0 < duration_s(value.timeout) <= 60:
        report.add(table.at("timeout"), "must be more than 0 and at most 60s")
    _must_be_file(table.at("tls_ca"), value.tls_ca, report)
    if value.tls_ca and not value.tls_verify:
        report.add(table.at("tls_verify"), "is false, so tls_ca would do nothing", "drop one of the two")
    if value.url.startswith("http://") and (value.tls_ca or not value.tls_verify):
        report.add(table.at("url"), "is plain http, so the tls settings would do nothing", "write https://")
    return EngineSettings(
        name=name,
        url=value.url,
        kind=value.kind,
        gpus=None if value.gpus in ("all", "auto") else tuple(value.gpus),
        find_gpus=value.gpus == "auto",
        model=value.model,
        token=secret(table, value.token_env, value.token_file, ("token_env", "token_file"), env, report),
        tls_ca=_path(value.tls_ca),
        tls_verify=value.tls_verify,
        timeout_s=duration_s(value.timeout),
        every_s=duration_s(value.every),
        custom=dict(value.custom),
        span_service=value.span_service,
    )


def attribution(table: Checked[model.Attribution], window_s: float, report: Report) -> AttributionSettings:
    value = table.value
    max_pending_s = duration_s(value.max_pending)
    if max_pending_s < window_s:
        report.add(
            table.at("max_pending"), f"is shorter than a window of {window_s:g}s", "energy must be able to wait for one"
        )
    weight = None if value.prefill_weight == "auto" else float(value.prefill_weight)
    return AttributionSettings(weight, value.node, max_pending_s, value.foreign)


def site(table: Checked[model.Site]) -> SiteSettings:
    value = table.value
    return SiteSettings(value.pue, value.node_overhead_w, value.grid_loss, value.market_g_per_kwh, value.wue_l_per_kwh)


def headline(table: Checked[model.Headline], window_s: float, report: Report) -> HeadlineSettings:
    windows = tuple((str(label), duration_s(label)) for label in table.value.windows)
    for label, length_s in windows:
        if length_s < window_s:
            report.add(table.at("windows"), f"{label} is shorter than agent.window, {window_s:g}s")
    return HeadlineSettings(windows)


def url_name(url: str, taken: Container[str]) -> str:
    """A label from a URL: host:port as written, with -2, -3 ... where that is taken."""
    return _url_name(urlsplit(url), taken)


def same_server(a: str, b: str) -> bool:
    """Whether two URLs lead to one server: its page may be named, or left to be found."""
    try:
        return _address(urlsplit(a)) == _address(urlsplit(b))
    except ValueError:  # no URL at all
        return False


def _address(url: SplitResult) -> str:
    return url.netloc.lower() + url.path.rstrip("/").removesuffix("/metrics").rstrip("/")


def url_fault(url: str) -> tuple[str, str] | None:
    """What is wrong with an engine's URL and what to write instead. Quotes nothing of it: it may hold a secret."""
    example = 'write it like "http://127.0.0.1:8000"'
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL", example
    if parts.scheme not in ("http", "https"):
        return "must begin with http:// or https://", example
    if not parts.hostname or any(c.isspace() for c in url):
        return "names no host", example
    if port == 0:
        return "has port 0", example
    if parts.username is not None or parts.password is not None:
        return "must not hold credentials", "set token_env or token_file"
    if parts.fragment:
        return "must not have a fragment (#...)", example
    return None


def _url(table: Checked[model.Engine], report: Report) -> SplitResult | None:
    if not table.good("url"):
        return None
    url = table.value.url
    wrong = ("is missing", 'write url = "http://127.0.0.1:8000"') if not url else url_fault(url)
    if wrong is None:
        return urlsplit(url)
    report.add(table.at("url"), *wrong)
    return None


def _url_name(parts: SplitResult, taken: Container[str]) -> str:
    base = parts.netloc.lower()[: types.MAX_NAME - 4]
    name, n = base, 1
    while name in taken:
        n += 1
        name = f"{base}-{n}"
    return name


def _listen(path: str, text: str, report: Report) -> tuple[str, int]:
    """Host and port of HOST:PORT or [IPV6]:PORT."""
    host, colon, port = text.strip().rpartition(":")
    example = 'write "127.0.0.1:9420", or "0.0.0.0:9420" for every address'
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit():
        report.add(path, "has no port", example)
    elif int(port) > 65_535:
        report.add(path, "has a port above 65535", example)
    elif not bare or any(c in "/@[] " for c in bare):
        report.add(path, "has no address before the port", example)
    elif ":" in bare and not host.startswith("["):
        report.add(path, "an IPv6 address stands in brackets", f'write "[{bare}]:{port}"')
    else:
        return bare, int(port)
    return DEFAULT_SERVER.host, DEFAULT_SERVER.port


def secret(
    table: Checked[M], env_name: str, file_name: str, keys: tuple[str, str], env: Mapping[str, str], report: Report
) -> Secret | None:
    if not table.good(*keys):
        return None
    if env_name and file_name:
        report.add(table.at(keys[0]), f"and {keys[1]} are both set", "keep one of the two")
        return None
    try:
        return read_secret(env_name, file_name, env)
    except SecretError as wrong:
        report.add(table.at(keys[0] if env_name else keys[1]), wrong.message, wrong.suggestion)
        return None


def _must_name_metrics(table: Checked[model.Engine], report: Report) -> None:
    from agent.engines.custom import spec_for  # noqa: PLC0415 - the readers are loaded only where they are used

    try:
        spec_for(table.value.custom)
    except ReadFailed as wrong:
        report.add(table.at("custom"), wrong.reason, 'name a metric, with labels if need be: my_total{mode="decode"}')


def _must_be_file(path: str, name: str, report: Report) -> None:
    if name and not Path(name).is_file():
        report.add(path, "there is no such file, or it may not be read")


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def duration_s(duration: str) -> float:
    """Seconds of a duration that the model has checked."""
    found = types.seconds(duration)
    if found is None:
        raise ValueError(duration)
    return found
