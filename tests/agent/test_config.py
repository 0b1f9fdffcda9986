"""One TOML file in, complete settings or every fault out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import Overrides, engine_from_url, load, parse
from agent.config_advice import advice
from agent.config_types import seconds
from agent.errors import ConfigError, ConfigFault
from agent.settings import EngineSettings, Settings

NO_ENV: Mapping[str, str] = {}
ENGINE = '[[engine]]\nurl = "http://127.0.0.1:8000"\n'


def faults(text: str, env: Mapping[str, str] = NO_ENV, overrides: Overrides | None = None) -> tuple[ConfigFault, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(text, env=env, overrides=overrides or Overrides())
    return caught.value.faults


def only(text: str, env: Mapping[str, str] = NO_ENV) -> ConfigFault:
    (one,) = faults(text, env)
    return one


def engine(text: str, env: Mapping[str, str] = NO_ENV) -> EngineSettings:
    (one,) = parse(ENGINE + text, env=env).engines
    return one


# -- what a good file gives


def test_an_empty_file_and_no_file_are_the_defaults() -> None:
    assert parse("", env=NO_ENV) == load(None, env=NO_ENV) == Settings()


def test_every_table_reaches_the_settings(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem", "ca.pem"):
        (tmp_path / name).write_text("x")
    file = tmp_path / "joulecar.toml"
    file.write_text(
        f"""
[agent]
interval = "250ms"
window = "2.5s"
log_level = "debug"
[server]
listen = "[::1]:9999"
tls_cert = "{tmp_path}/cert.pem"
tls_key = "{tmp_path}/key.pem"
basic_auth_user = "prometheus"
basic_auth_password_env = "SCRAPE_PASSWORD"
max_connections = 8
[sources]
sysfs = "/host/sys"
nvml = "on"
rapl = "off"
host = "auto"
cpu_tdp_w = 280
[[engine]]
name = "vllm-a"
url = "https://10.0.0.1:8000/metrics"
kind = "vllm"
gpus = ["GPU-3e2f5a40-1111-2222-3333-444455556666", "MIG-3e2f5a40-1111-2222-3333-444455556667", 1]
model = "llama"
token_env = "VLLM_TOKEN"
tls_ca = "{tmp_path}/ca.pem"
timeout = "2s"
every = "10s"
[[engine]]
url = "http://10.0.0.2:8080"
gpus = []
kind = "custom"
custom = {{ generated = "my_tokens_total", prompt = 'my_prompt{{mode="computed"}}' }}
[attribution]
prefill_weight = 0.2
node = "unassigned"
max_pending = "2m"
[grid]
zone = "France"
providers = ["table"]
[site]
pue = 1.25
node_overhead_w = 150
[headline]
windows = ["30s", "1h", "1d"]
""",
        encoding="utf-8",
    )
    settings = load(file, env={"SCRAPE_PASSWORD": "pass\n", "VLLM_TOKEN": "tok"})

    assert settings.agent.interval_s == 0.25
    assert settings.agent.window_s == 2.5
    assert settings.agent.log_level == "debug"
    assert (settings.server.host, settings.server.port) == ("::1", 9999)
    assert (settings.server.tls_cert, settings.server.tls_key) == (tmp_path / "cert.pem", tmp_path / "key.pem")
    assert settings.server.basic_auth_user == "prometheus"
    assert settings.server.basic_auth_password is not None
    assert settings.server.basic_auth_password.value == "pass"
    assert settings.server.max_connections == 8
    assert settings.sources.sysfs == Path("/host/sys")
    assert (settings.sources.nvml, settings.sources.rapl, settings.sources.host) == ("on", "off", "auto")
    assert settings.sources.cpu_tdp_w == 280.0
    first, second = settings.engines
    assert first.token is not None
    assert (first.name, first.kind, first.model, first.token.value) == ("vllm-a", "vllm", "llama", "tok")
    assert first.gpus == ("GPU-3e2f5a40-1111-2222-3333-444455556666", "MIG-3e2f5a40-1111-2222-3333-444455556667", 1)
    assert (first.timeout_s, first.every_s, first.tls_ca) == (2.0, 10.0, tmp_path / "ca.pem")
    assert (second.name, second.gpus) == ("10.0.0.2:8080", ())
    assert second.custom == {"generated": "my_tokens_total", "prompt": 'my_prompt{mode="computed"}'}
    assert settings.attribution.prefill_weight == 0.2
    assert (settings.attribution.node, settings.attribution.max_pending_s) == ("unassigned", 120.0)
    assert (settings.grid.zone, settings.grid.providers) == ("France", ("table",))
    assert (settings.site.pue, settings.site.node_overhead_w) == (1.25, 150.0)
    assert settings.headline.windows == (("30s", 30.0), ("1h", 3600.0), ("1d", 86400.0))


def test_auto_and_all_are_no_restriction() -> None:
    settings = parse(
        ENGINE + 'gpus = "all"\n[grid]\nzone = "auto"\nproviders = "auto"\n[attribution]\nprefill_weight = "auto"',
        env=NO_ENV,
    )
    assert (settings.engines[0].gpus, settings.engines[0].find_gpus) == (None, False)
    assert settings.grid.zone is None
    assert settings.grid.providers == ()
    assert settings.attribution.prefill_weight is None


@pytest.mark.parametrize(
    ("line", "gpus", "found"), [("", None, True), ('gpus = "auto"', None, True), ("gpus = [0]", (0,), False)]
)
def test_the_gpus_of_an_engine_that_names_none_are_found(line: str, gpus: tuple[int, ...] | None, found: bool) -> None:
    (engine,) = parse(ENGINE + line, env=NO_ENV).engines
    assert (engine.gpus, engine.find_gpus) == (gpus, found)


@pytest.mark.parametrize(
    ("text", "expected"), [("1s", 1.0), ("250ms", 0.25), ("5m", 300.0), ("1h", 3600.0), ("1.5s", 1.5), ("2d", 172800.0)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "1", "s", "-1s", "1 parsec", "1e3s", "infs", "nan", "1s1s", "١s", "1 s", "1S"])
def test_what_is_no_duration(text: str) -> None:
    assert seconds(text) is None


def test_engines_of_the_command_line_come_after_those_of_the_file() -> None:
    overrides = Overrides(engines=("http://gpu-box:8001", "https://other/v1"), listen="0.0.0.0:80")
    settings = parse(ENGINE, env=NO_ENV, overrides=overrides)
    assert [one.name for one in settings.engines] == ["127.0.0.1:8000", "gpu-box:8001", "other"]
    assert settings.engines[1] == EngineSettings(name="gpu-box:8001", url="http://gpu-box:8001")
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 80)


def test_an_engine_of_the_command_line_takes_a_free_name() -> None:
    assert engine_from_url("http://127.0.0.1:8000", ()).name == "127.0.0.1:8000"
    assert engine_from_url("http://127.0.0.1:8000", {"127.0.0.1:8000"}).name == "127.0.0.1:8000-2"
    assert engine_from_url(" http://127.0.0.1:8000 ", ()).url == "http://127.0.0.1:8000"


def test_a_unnamed_engine_does_not_take_the_name_that_a_later_one_has() -> None:
    text = ENGINE + '[[engine]]\nname = "127.0.0.1:8000"\nurl = "http://10.0.0.9"\n'
    assert [one.name for one in parse(text, env=NO_ENV).engines] == ["127.0.0.1:8000-2", "127.0.0.1:8000"]


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xef\xbb\xbf[site]\r\npue = 2\r\n")
    assert load(file, env=NO_ENV).site.pue == 2.0


# -- what a bad one gets


def test_every_fault_comes_at_once_with_its_line_and_path() -> None:
    text = """\
interval = "1s"
[agent]
interval = 1
log_levl = "info"
[[engine]]
url = "127.0.0.1:8000"
[[engine]]
name = "b"
url = "http://b"
gpus = "some"
[grid]
zone = "Frnace"
[site]
pue = 0.9
"""
    found = [(fault.line, fault.path, fault.suggestion) for fault in faults(text, overrides=Overrides(listen="nine"))]
    assert found == [
        (1, "interval", "it belongs to [agent]"),
        (3, "agent.interval", 'write "1s"'),
        (4, "agent.log_levl", 'did you mean "log_level"?'),
        (6, "engine[0].url", 'write it like "http://127.0.0.1:8000"'),
        (10, "engine[1].gpus", 'write gpus = ["GPU-<uuid>"] or gpus = [0, 1]'),
        (12, "grid.zone", "write one of FR (France)"),
        (14, "site.pue", ""),
        (None, "--listen", 'write "127.0.0.1:9420", or "0.0.0.0:9420" for every address'),
    ]


def test_a_faulty_key_does_not_hide_what_is_wrong_beside_it() -> None:
    paths = [fault.path for fault in faults('[agent]\nlog_level = 3\ninterval = "10s"\nwindow = "5s"\n')]
    assert paths == ["agent.log_level", "agent.window"]


def test_a_syntax_error_names_its_line() -> None:
    fault = only("[agent]\ninterval = = 1\n")
    assert "line 2" in fault.message


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        ('[agent]\nintervall = "1s"', "agent.intervall", 'did you mean "interval"?'),
        ("[agnet]", "agnet", 'did you mean "agent"?'),
        ('[agent]\nlisten = "127.0.0.1:1"', "agent.listen", "it belongs to [server]"),
        ("[[budgets]]\nname = 'x'", "budgets", 'did you mean "budget"'),
        ("[grid.electricity_maps]\nbase_url = 'x'", "grid.electricity_maps", "lacks token_env or token_file"),
        ("agent = 3", "agent", "write [agent]"),
        ("[[agent]]", "agent", "write [agent]"),
        ("[engine]\nurl = 'http://a'", "engine", "write [[engine]]"),
        ("engine = [1]", "engine[0]", "write [[engine]]"),
        ("[agent]\ninterval = 5", "agent.interval", 'write "5s"'),
        ("[agent]\ninterval = 0.5", "agent.interval", 'write "0.5s"'),
        ("[agent]\ninterval = true", "agent.interval", "must be a duration"),
        ("[agent]\ninterval = inf", "agent.interval", "must be a duration"),
        ('[agent]\ninterval = "fast"', "agent.interval", "must be a duration"),
        ('[agent]\ninterval = "99ms"', "agent.interval", "shorter than 100ms"),
        ('[agent]\ninterval = "0s"', "agent.interval", "shorter than 100ms"),
        ('[agent]\nwindow = "500ms"', "agent.window", "shorter than the interval of 1s"),
        ('[agent]\nlog_level = "verbos"', "agent.log_level", 'must be one of "debug"'),
        ("[agent]\nlog_level = 'Warning'", "agent.log_level", 'did you mean "warning"?'),
        ('[server]\nlisten = "127.0.0.1"', "server.listen", "has no port"),
        ('[server]\nlisten = ":9420"', "server.listen", "no address"),
        ('[server]\nlisten = "::1:9420"', "server.listen", 'write "[::1]:9420"'),
        ('[server]\nlisten = "0.0.0.0:99999"', "server.listen", "above 65535"),
        ('[server]\nlisten = "http://0.0.0.0:99"', "server.listen", "no address"),
        ("[server]\nlisten = 9420", "server.listen", "must be text"),
        ("[server]\nmax_connections = 0", "server.max_connections", "1 or more"),
        ("[server]\nmax_connections = 2.5", "server.max_connections", "whole number"),
        ('[server]\nmax_connections = "32"', "server.max_connections", "without quotes"),
        ("[server]\nbasic_auth_user = 'u'", "server.basic_auth_user", "has no password"),
        ("[server]\nbasic_auth_password = 'hunter2'", "server.basic_auth_password", "basic_auth_password_env"),
        ("[sources]\nnvml = true", "sources.nvml", 'did you mean "on"?'),
        ("[sources]\nrapl = 'of'", "sources.rapl", 'did you mean "off"?'),
        ("[sources]\nsysfs = 'sys'", "sources.sysfs", "absolute path"),
        ("[sources]\ncpu_tdp_w = 0", "sources.cpu_tdp_w", "more than 0"),
        ("[sources]\ncpu_tdp_w = nan", "sources.cpu_tdp_w", "finite"),
        ("[[engine]]\nname = 'a'", "engine[0].url", "is missing"),
        (ENGINE + "tokn_env = 'X'", "engine[0].tokn_env", 'did you mean "token_env"?'),
        (ENGINE + "token = 'hunter2'", "engine[0].token", "token_env"),
        (ENGINE + "kind = 'vlm'", "engine[0].kind", 'did you mean "vllm"?'),
        (ENGINE + "kind = 'custom'", "engine[0].custom", "is missing"),
        (ENGINE + "custom = { generated = 'x_total' }", "engine[0].custom", "only with kind"),
        (ENGINE + "kind = 'custom'\ncustom = { tokens = 'x_total' }", "engine[0].custom", "generated"),
        (ENGINE + "kind = 'custom'\ncustom = { generated = 'x{' }", "engine[0].custom", "not a metric"),
        (ENGINE + "gpus = 'none'", "engine[0].gpus", "list of GPUs"),
        (ENGINE + "gpus = ['0']", "engine[0].gpus", "UUID or its index"),
        (ENGINE + "gpus = [-1]", "engine[0].gpus", "0 or more"),
        (ENGINE + "gpus = [true]", "engine[0].gpus", "0 or more"),
        (ENGINE + "gpus = [0, 0]", "engine[0].gpus", "twice"),
        (ENGINE + "gpus = ['MIG-0']", "engine[0].gpus", "UUID or its index"),
        (ENGINE + "tls_verify = 'no'", "engine[0].tls_verify", "true or false"),
        (ENGINE + "tls_verify = false", "engine[0].url", "plain http"),
        (ENGINE + "timeout = '0s'", "engine[0].timeout", "more than 0"),
        (ENGINE + "timeout = '2m'", "engine[0].timeout", "at most 60s"),
        (ENGINE + f"model = '{'m' * 5000}'", "engine[0].model", "longer than 4096"),
        ("[grid]\nfixed_g_per_kwh = 9.0\nzone = '" + "z" * 65 + "'", "grid.zone", "longer than 64"),
        ("[agent]\nstate_dir = '/nonexistent/x'", "agent.state_dir", "no directory that can be written"),
        (ENGINE + "every = '1ms'", "engine[0].every", "100ms"),
        (ENGINE + "model = '''a\nb'''", "engine[0].model", "printable"),
        (ENGINE + f"name = '{'n' * 65}'", "engine[0].name", "longer than 64"),
        (ENGINE + "token_file = '/nonexistent/token'", "engine[0].token_file", "cannot be read"),
        (ENGINE + "tls_ca = '/nonexistent/ca'", "engine[0].url", "plain http"),
        ("[attribution]\nprefill_weight = 11", "attribution.prefill_weight", "between 0 and 10"),
        ("[attribution]\nprefill_weight = -0.1", "attribution.prefill_weight", "between 0 and 10"),
        ("[attribution]\nprefill_weight = nan", "attribution.prefill_weight", "between 0 and 10"),
        ("[attribution]\nprefill_weight = 'automatic'", "attribution.prefill_weight", "0.12"),
        ("[attribution]\nnode = 'shard'", "attribution.node", 'did you mean "shared"?'),
        ("[attribution]\nmax_pending = '1s'", "attribution.max_pending", "shorter than a window"),
        ("[grid]\nzone = 'Georgia'", "grid.zone", "US-GA"),
        ("[grid]\nzone = 'TX'", "grid.zone", "US-TX"),
        ("[grid]\nzone = 'world'", "grid.zone", "not a zone"),
        ("[grid]\nzone = 'Monaco'", "grid.zone", "no yearly carbon intensity"),
        ("[grid]\nproviders = ['tabel']", "grid.providers", 'did you mean "table"?'),
        ("[grid]\nproviders = []", "grid.providers", "is empty"),
        ("[grid]\nproviders = ['table', 'table']\nzone = 'FR'", "grid.providers", "twice"),
        ("[grid]\nproviders = 'table'", "grid.providers", 'providers = ["table"]'),
        ("[grid]\nproviders = ['table']\nmetadata = 'off'", "grid.zone", "is missing"),
        ("[grid]\nproviders = ['fixed']\nzone = 'FR'", "grid.fixed_g_per_kwh", "is missing"),
        (
            "[grid]\nproviders = ['table']\nzone = 'FR'\nfixed_g_per_kwh = 3.0",
            "grid.fixed_g_per_kwh",
            "would do nothing",
        ),
        ("[grid]\nfixed_g_per_kwh = 0.31", "grid.fixed_g_per_kwh", "310"),
        ("[grid]\nfixed_g_per_kwh = -1", "grid.fixed_g_per_kwh", "0 or more"),
        ("[grid]\nfixed_g_per_kwh = 10000", "grid.fixed_g_per_kwh", "3000 or less"),
        ("[site]\npue = 0.99", "site.pue", "1 or more"),
        ("[site]\npue = 109", "site.pue", "10 or less"),
        ("[site]\npue = '1.1'", "site.pue", "without quotes"),
        ("[site]\nnode_overhead_w = -5", "site.node_overhead_w", "0 or more"),
        ("[headline]\nwindows = []", "headline.windows", "one to eight"),
        ("[headline]\nwindows = ['1m', '60s']", "headline.windows", "twice"),
        ("[headline]\nwindows = ['1s']", "headline.windows", "shorter than agent.window"),
        ("[headline]\nwindows = [60]", "headline.windows", 'write "60s"'),
    ],
)
def test_a_fault_names_its_place_and_what_to_write(text: str, path: str, words: str) -> None:
    found = [fault for fault in faults(text) if fault.path == path]
    assert len(found) == 1
    assert words in str(found[0])


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "localhost",
        "ftp://a",
        "http://",
        "http://a:port",
        "http://a b",
        "http://a#x",
        "http://a:0",
        "//a",
    ],
)
def test_an_engine_needs_an_http_url(url: str) -> None:
    assert only(f"[[engine]]\nurl = '{url}'").path == "engine[0].url"
    with pytest.raises(ConfigError, match="--engine"):
        engine_from_url(url, ())


def test_two_engines_cannot_have_one_name() -> None:
    text = "[[engine]]\nname = 'a'\nurl = 'http://a'\n[[engine]]\nname = 'a'\nurl = 'http://b'"
    fault = only(text)
    assert (fault.path, fault.line) == ("engine[1].name", 5)
    assert "engine[0]" in fault.message


@pytest.mark.parametrize("again", ["http://127.0.0.1:8000", "http://127.0.0.1:8000/", "http://127.0.0.1:8000/metrics"])
def test_one_server_is_not_counted_twice(again: str) -> None:
    assert only(f"{ENGINE}[[engine]]\nname = 'b'\nurl = '{again}'").path == "engine[1].url"
    assert faults(ENGINE, overrides=Overrides(engines=(again,)))[0].path == "--engine"


def test_tls_needs_both_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("x")
    assert only(f"[server]\ntls_cert = '{tmp_path}/x.pem'").path == "server.tls_key"
    assert only(f"[server]\ntls_key = '{tmp_path}/x.pem'").path == "server.tls_cert"
    assert only(f"[server]\ntls_key = '{tmp_path}/x.pem'\ntls_cert = '{tmp_path}/none.pem'").path == "server.tls_cert"


def test_a_colon_in_the_user_name_is_refused_since_http_cannot_carry_it() -> None:
    text = "[server]\nbasic_auth_user = 'a:b'\nbasic_auth_password_env = 'PASSWORD'"
    assert "colon" in only(text, {"PASSWORD": "x"}).message


def test_a_ca_that_nothing_is_checked_against_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("x")
    text = f"[[engine]]\nurl = 'https://a'\ntls_verify = false\ntls_ca = '{tmp_path}/ca.pem'"
    assert only(text).path == "engine[0].tls_verify"


def test_a_key_of_a_table_inside_an_engine_has_its_line() -> None:
    fault = faults(ENGINE + "kind = 'vllm'\n[engine.custom]\ngenerated = 3\n")[0]
    assert (fault.path, fault.line) == ("engine[0].custom", 4)


def test_a_password_needs_a_user() -> None:
    fault = only("[server]\nbasic_auth_password_env = 'PASSWORD'", {"PASSWORD": "x"})
    assert fault.path == "server.basic_auth_user"


@pytest.mark.parametrize("content", [b"\xff\xfe[agent]", b"[agent]\nlog_level = '\xe9'"])
def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        load(file, env=NO_ENV)
    assert caught.value.origin == str(file)


def test_a_file_that_is_not_there_a_folder_and_a_huge_file_are_named(tmp_path: Path) -> None:
    huge = tmp_path / "huge.toml"
    huge.write_text("# x\n" * 300_000)
    for path, words in ((tmp_path / "none.toml", "No such file"), (tmp_path, "directory"), (huge, "1 MiB")):
        with pytest.raises(ConfigError, match=words):
            load(path, env=NO_ENV)


def test_deeply_nested_toml_is_a_fault_and_not_a_crash() -> None:
    assert faults("a = " + "[" * 50_000)


@given(st.text(max_size=200))
def test_no_text_crashes_the_parser(text: str) -> None:
    try:
        parse(text, env=NO_ENV)
    except ConfigError as error:
        assert error.faults


# -- secrets

SECRET = "hunter2-s3cr3t"


def test_a_token_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    from_env = engine("token_env = 'MY_TOKEN'", {"MY_TOKEN": SECRET}).token
    from_file = engine(f"token_file = '{file}'").token
    assert from_env is not None
    assert from_file is not None
    assert from_env.value == from_file.value == SECRET
    assert from_env.origin == "env MY_TOKEN"
    assert from_file.origin == f"file {file}"


def test_settings_never_show_a_secret() -> None:
    settings = parse(ENGINE + "token_env = 'MY_TOKEN'", env={"MY_TOKEN": SECRET})
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.engines[0].token)


@pytest.mark.parametrize(
    ("text", "env"),
    [
        (ENGINE + f"token = '{SECRET}'", {}),
        (ENGINE + f"token_env = '{SECRET}'", {}),
        (ENGINE + "token_env = 'hf_hunter2s3cr3t'", {}),
        (ENGINE + f"token_env = ['{SECRET}']", {}),
        (f"[[engine]]\nurl = 'http://user:{SECRET}@host:8000'", {}),
        (f"[[engine]]\nurl = 'host:8000?token={SECRET}'", {}),
        (ENGINE + "token_env = 'MY_TOKEN'\ntoken_file = '/run/token'", {"MY_TOKEN": SECRET}),
        (ENGINE + "token_env = 'MY_TOKEN'", {"MY_TOKEN": f"{SECRET}\nsecond line"}),
        (f"[server]\nbasic_auth_user = 'u'\nbasic_auth_password = '{SECRET}'", {}),
        (f"[server]\nlisten = '{SECRET}'", {}),
        (f"[sources]\nnvml = '{SECRET}'", {}),
        (f"[agent]\ninterval = '{SECRET}'", {}),
    ],
)
def test_no_fault_shows_a_secret(text: str, env: Mapping[str, str]) -> None:
    shown = "\n".join(map(str, faults(text, env)))
    assert "hunter2" not in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("env", [{}, {"VLLM_TOKEN": ""}, {"VLLM_TOKEN": "  "}])
def test_a_token_that_is_not_in_the_environment_is_a_fault(env: Mapping[str, str]) -> None:
    fault = only(ENGINE + "token_env = 'VLLM_TOKEN'", env)
    assert fault.path == "engine[0].token_env"
    assert "VLLM_TOKEN" in fault.message


def test_an_empty_or_a_binary_token_file_is_a_fault(tmp_path: Path) -> None:
    for content, words in (
        (b"\n", "empty"),
        (b"\xff\xfe", "not text"),
        (b"a\nb", "one line"),
        (b"x" * 70_000, "64 KiB"),
    ):
        file = tmp_path / "token"
        file.write_bytes(content)
        assert words in str(only(f"{ENGINE}token_file = '{file}'"))


# -- advice


def test_the_defaults_need_no_advice() -> None:
    assert advice(Settings()) == ()
    assert advice(parse("[grid]\nzone = 'FR'", env=NO_ENV)) == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[agent]\ninterval = '2s'", "not a multiple"),
        ("[server]\nlisten = '0.0.0.0:1'\nbasic_auth_user = 'u'\nbasic_auth_password_env = 'P'", "clear text"),
        ("[[engine]]\nurl = 'http://10.0.0.1'\ntoken_env = 'P'", "clear text"),
        ("[[engine]]\nurl = 'https://10.0.0.1'\ntls_verify = false", "tls_verify"),
        ("[grid]\nfixed_g_per_kwh = 0", "every gram is 0"),
    ],
)
def test_what_is_allowed_but_worth_a_word_is_said(text: str, words: str) -> None:
    settings = parse(text, env={"P": SECRET})
    said = advice(settings)
    assert any(words in one for one in said)
    assert SECRET not in "".join(said)


def test_an_interval_of_a_fifth_of_the_window_in_floats_is_a_multiple() -> None:
    assert not any("multiple" in one for one in advice(parse("[agent]\ninterval='100ms'\nwindow='300ms'", env=NO_ENV)))


def test_the_configuration_loads_without_pandas_codecarbon_or_an_http_client() -> None:
    code = (
        "import sys; from agent.config import parse\n"
        'parse(\'[grid]\\nzone = "US-CA"\\n[[engine]]\\nurl = "http://a"\', env={})\n'
        "print(sorted({'codecarbon', 'pandas', 'numpy', 'httpx', 'requests', 'pynvml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
