"""compose.yaml and the files beside it: they fit together, and give away no more than they must."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agent.config import parse
from tests.deploy.dockerfile import last_stage, read, variables
from tests.deploy.documents import DEPLOY, Document, document, strings

COMPOSE = document(DEPLOY / "compose.yaml")
SERVICES: Document = COMPOSE["services"]
EXTRAS = {name: document(DEPLOY / f"compose.{name}.yaml") for name in ("gpu", "rapl")}
NAMES = sorted(SERVICES)
STATE = "/var/lib/joulecar"

# Keys of a service in the Compose Specification that these files use. A typing error is none of them.
KEYS = {
    *("build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image", "mem_limit"),
    *("pid", "pids_limit", "ports", "pull_policy", "read_only", "restart", "runtime", "security_opt"),
    *("stop_grace_period", "tmpfs", "user", "volumes"),
}


def mounts(service: Document) -> list[tuple[str, str, str]]:
    """Source, target, mode."""
    return [(*v.split(":"), "rw")[:3] for v in service.get("volumes", [])]


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_written_with_keys_that_compose_knows(name: str) -> None:
    assert set(SERVICES[name]) <= KEYS
    for extra in EXTRAS.values():
        for service, more in extra["services"].items():
            assert service in SERVICES
            assert set(more) <= KEYS


@pytest.mark.parametrize("name", NAMES)
def test_every_service_runs_read_only_and_without_capabilities(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service


@pytest.mark.parametrize("name", NAMES)
def test_every_image_has_a_tag_that_does_not_move_and_no_registry(name: str) -> None:
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag)
    assert "." not in image.split("/")[0]


@pytest.mark.parametrize("name", NAMES)
def test_ports_are_open_to_this_machine_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", NAMES)
def test_every_mounted_file_exists_and_every_volume_is_declared(name: str) -> None:
    for source, target, mode in mounts(SERVICES[name]):
        assert target.startswith("/")
        if source.startswith("./"):
            assert (DEPLOY / source).exists(), source
            assert mode == "ro"
        else:
            assert source in COMPOSE["volumes"]
            assert mode == "rw"


def test_nothing_looks_like_a_secret() -> None:
    for value in strings([COMPOSE, *EXTRAS.values()]):
        assert not re.search(r"(?i)password=|passwd|secret|token|api_key", value), value


def test_what_is_built_names_a_dockerfile() -> None:
    built = {name: s["build"] for name, s in SERVICES.items() if "build" in s}
    assert set(built) == {"joulecar", "engine"}
    for build in built.values():
        assert (DEPLOY / build["context"]).resolve() == DEPLOY.parent
        assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    assert SERVICES["load"]["image"] == SERVICES["joulecar"]["image"]


def test_the_agents_configuration_is_accepted_and_fits_the_services(tmp_path: Path) -> None:
    text = (DEPLOY / "compose" / "joulecar.toml").read_text(encoding="utf-8")
    settings = parse(text.replace(STATE, str(tmp_path)), env={})
    assert settings.server.host == "0.0.0.0", "another container could not scrape it"
    (port,) = SERVICES["joulecar"]["ports"]
    assert port.endswith(f":{settings.server.port}")
    assert variables(last_stage(read(DEPLOY / "Dockerfile")))["JOULECAR_HEALTHZ"].endswith(
        f":{settings.server.port}/healthz"
    )
    targets = {target: (source, mode) for source, target, mode in mounts(SERVICES["joulecar"])}
    assert settings.agent.state_dir == tmp_path
    assert targets[STATE] == ("state", "rw")
    assert SERVICES["joulecar"]["command"][-1] in targets
    (engine,) = settings.engines
    (exposed,) = [i.rest for i in last_stage(read(DEPLOY / "demo.Dockerfile")) if i.word == "EXPOSE"]
    assert engine.url == f"http://engine:{exposed}" == SERVICES["load"]["entrypoint"][-1]
    assert "engine" in SERVICES
    rapl = EXTRAS["rapl"]["services"]["joulecar"]
    assert rapl["volumes"] == [f"/sys:{settings.sources.sysfs}:ro"]
    assert settings.sources.sysfs != Path("/sys"), "runtimes hide powercap there, whatever is mounted"


def test_prometheus_takes_its_configuration_and_finds_everybody(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool
    text = (DEPLOY / "compose" / "prometheus.yml").read_text(encoding="utf-8")
    rules = DEPLOY / "prometheus"
    assert ("./prometheus", "/etc/prometheus/rules", "ro") in mounts(SERVICES["prometheus"])
    local = tmp_path / "prometheus.yml"
    local.write_text(text.replace("/etc/prometheus/rules", str(rules)), encoding="utf-8")
    done = subprocess.run([promtool, "check", "config", local], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    config = document(local)
    for rule_file in config["rule_files"]:
        assert Path(rule_file).is_file(), rule_file
    addresses = {t for job in config["scrape_configs"] for group in job["static_configs"] for t in group["targets"]}
    assert addresses == {"joulecar:9420", "localhost:9090"}
    (manager,) = config["alerting"]["alertmanagers"]
    assert manager["static_configs"] == [{"targets": ["alertmanager:9093"]}]
    assert {"joulecar", "alertmanager"} <= set(SERVICES)


def test_alertmanager_takes_its_configuration() -> None:
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("Debian's prometheus-alertmanager brings amtool")
    path = DEPLOY / "compose" / "alertmanager.yml"
    done = subprocess.run([amtool, "check-config", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_its_dashboards_and_its_data_source() -> None:
    there = {target: DEPLOY / source for source, target, _ in mounts(SERVICES["grafana"]) if source.startswith("./")}
    provisioning = there["/etc/grafana/provisioning"]
    (provider,) = document(next((provisioning / "dashboards").glob("*.yaml")))["providers"]
    assert list(there[provider["options"]["path"]].glob("*.json"))
    (source,) = document(next((provisioning / "datasources").glob("*.yaml")))["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_the_load_asks_the_engine_until_it_is_stopped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as engine:
        engine.settimeout(20)
        url = f"http://127.0.0.1:{engine.getsockname()[1]}"
        running = subprocess.Popen([sys.executable, DEPLOY / "image" / "load.py", url])
        try:
            connection, _ = engine.accept()
            with connection:
                assert connection.recv(1000).startswith(b"POST /v1/completions HTTP/1.1\r\n")
        finally:
            running.terminate()
            ended = running.wait(20)
        assert ended == 0
