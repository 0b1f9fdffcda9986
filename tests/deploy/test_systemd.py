"""The systemd unit and what prepares a host for it: checked by systemd's own tools where they are, and tried."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.cli import EXIT_BAD_CONFIG, parser
from agent.sources.rapl import RaplSource
from tests.deploy.dockerfile import last_stage, read
from tests.deploy.documents import DEPLOY
from tests.fakes.clock import FakeClock
from tests.fakes.daemon import COMMAND, Daemon
from tests.fakes.powercap import server

FOLDER = DEPLOY / "systemd"
UNIT = FOLDER / "joulecar.service"
DROP_INS = sorted((FOLDER / "joulecar.service.d").glob("*.conf"))
GROUP = 10001
NOT_ROOT = os.geteuid() != 0


def settings(*paths: Path) -> dict[str, list[str]]:
    """Every value of every key, in order."""
    found: dict[str, list[str]] = {}
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            if match := re.match(r"(\w+)=(.*)", line):
                found.setdefault(match[1], []).append(match[2])
    return found


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd-analyze here")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False, timeout=60)


def installed(tmp_path: Path, *drop_ins: Path) -> Path:
    """The unit as installed, with a program that is there."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("/opt/joulecar/bin/joulecar", sys.executable))
    for path in drop_ins:
        folder = tmp_path / f"{UNIT.name}.d"
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder)
    return unit


@contextmanager
def acting_as(user: int, group: int) -> Iterator[None]:
    """This process as another user, without root's capabilities."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(group)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.fixture
def host() -> Iterator[Path]:
    """A folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path


def counters(sysfs: Path) -> list[Path]:
    return sorted((sysfs / "devices").rglob("energy_uj"))


def as_linux_makes_it(sysfs: Path) -> None:
    """A powercap tree of two sockets, the counters root's alone."""
    server(sysfs)
    for path in counters(sysfs):
        path.chmod(0o400)


def apply_the_rule(sysfs: Path) -> None:
    """What udev does with the rule's line for each zone of the tree."""
    (rule,) = [line for line in (FOLDER / "60-joulecar-rapl.rules").read_text().splitlines() if line.startswith("A")]
    terms = [re.fullmatch(r'(\w+)(==|\+=)"([^"]*)"', term.strip()) for term in rule.split(", ")]
    assert all(terms)
    told = [(m[1], m[2], m[3]) for m in terms if m]
    assert [t for t in told if t[1] == "=="] == [
        ("ACTION", "==", "add"),
        ("SUBSYSTEM", "==", "powercap"),
        ("KERNEL", "==", "intel-rapl:*"),
        ("TEST", "==", "energy_uj"),
    ]
    runs = [value for key, _, value in told if key == "RUN"]
    for counter in counters(sysfs):
        zone = counter.parent
        if zone.name.startswith("intel-rapl:"):
            path = f"/{zone.relative_to(sysfs)}"
            for run in runs:
                subprocess.run(shlex.split(run.replace("%S", str(sysfs)).replace("%p", path)), check=True)


@pytest.mark.parametrize(
    "drop_ins", [[], DROP_INS[:1], DROP_INS[1:], DROP_INS], ids=["plain", "rapl", "several", "all"]
)
def test_systemd_takes_the_unit(tmp_path: Path, drop_ins: list[Path]) -> None:
    done = analyze("verify", "--man=no", installed(tmp_path, *drop_ins))
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_would_see_a_wrong_key(tmp_path: Path) -> None:
    unit = installed(tmp_path)
    unit.write_text(unit.read_text().replace("ProtectSystem=", "ProtectSytem="))
    assert "ProtectSytem" in analyze("verify", "--man=no", unit).stderr


def test_systemd_rates_the_service_as_little_exposed(tmp_path: Path) -> None:
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=18", installed(tmp_path))
    if "unrecognized option" in done.stderr:
        pytest.skip("a systemd older than 250")
    assert done.returncode == 0, done.stdout[-300:]


def test_the_service_has_no_capability_and_each_drop_in_gives_one() -> None:
    plain = settings(UNIT)
    assert plain["CapabilityBoundingSet"] == plain["AmbientCapabilities"] == [""]
    given = {}
    for path in DROP_INS:
        more = settings(path)
        assert more["CapabilityBoundingSet"] == more["AmbientCapabilities"]
        (given[path.name],) = more["AmbientCapabilities"]
    assert given == {"rapl-capability.conf": "CAP_DAC_READ_SEARCH", "several-engines.conf": "CAP_SYS_PTRACE"}


def test_the_command_is_one_and_a_wrong_configuration_is_not_started_again_and_again() -> None:
    plain = settings(UNIT)
    ((command, *words),) = [shlex.split(line) for line in plain["ExecStart"]]
    assert command.endswith("/joulecar")
    assert parser().parse_args(words).config == Path("/etc/joulecar/joulecar.toml")
    assert plain["RestartPreventExitStatus"] == [str(EXIT_BAD_CONFIG)]


def test_one_group_number_serves_the_image_the_rule_and_the_node() -> None:
    (user,) = [i.rest for i in last_stage(read(DEPLOY / "Dockerfile")) if i.word == "USER"]
    assert user == f"{GROUP}:{GROUP}"
    (group,) = [s for s in (FOLDER / "joulecar-group.conf").read_text().splitlines() if not s.startswith("#")]
    assert group == f"g {settings(UNIT)['SupplementaryGroups'][0]} {GROUP}"
    (folder,) = [s for s in (FOLDER / "joulecar-node.conf").read_text().splitlines() if not s.startswith("#")]
    assert folder.split() == ["d", "/var/lib/joulecar", "0750", str(GROUP), str(GROUP)]


@pytest.mark.skipif(NOT_ROOT, reason="makes files of other users")
def test_systemd_makes_the_group_and_the_nodes_folder(host: Path) -> None:
    sysusers, tmpfiles = shutil.which("systemd-sysusers"), shutil.which("systemd-tmpfiles")
    if sysusers is None or tmpfiles is None:
        pytest.skip("no systemd here")
    for kind, name in (("sysusers.d", "joulecar-group.conf"), ("tmpfiles.d", "joulecar-node.conf")):
        (host / "usr/lib" / kind).mkdir(parents=True)
        shutil.copy(FOLDER / name, host / "usr/lib" / kind)
    (host / "etc").mkdir()
    subprocess.run([sysusers, f"--root={host}"], check=True, capture_output=True)
    assert re.search(rf"^joulecar-rapl:x:{GROUP}:", (host / "etc/group").read_text(), re.MULTILINE)
    subprocess.run([tmpfiles, f"--root={host}", "--create"], check=True, capture_output=True)
    made = (host / "var/lib/joulecar").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (GROUP, GROUP, 0o750)


@pytest.mark.skipif(NOT_ROOT, reason="makes files of other users")
def test_the_rule_opens_the_counters_to_the_group_and_to_nobody_else(host: Path) -> None:
    as_linux_makes_it(host)

    def readable() -> list[bool]:
        return [f.ok for f in RaplSource(host, FakeClock()).probe() if f.method is not None]

    with acting_as(GROUP, GROUP):
        assert readable() == [False] * 4
    apply_the_rule(host)
    with acting_as(GROUP, GROUP):
        assert readable() == [True] * 4
    with acting_as(GROUP + 1, GROUP + 1):
        assert readable() == [False] * 4
    assert {p.stat().st_mode & 0o777 for p in counters(host) if "mmio" not in str(p)} == {0o440}


@pytest.mark.skipif(NOT_ROOT, reason="needs root to give its capabilities up")
def test_user_0_without_any_capability_reads_the_counters_and_no_strangers_file(host: Path) -> None:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv here")
    as_linux_makes_it(host)
    stranger = host / "stranger"
    stranger.write_text("private")
    stranger.chmod(0o400)
    os.chown(stranger, 4242, 4242)

    def reads(path: Path) -> bool:
        argv = [setpriv, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "/bin/cat", str(path)]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    assert all(reads(path) for path in counters(host))
    assert not reads(stranger), "it has a capability left"


@pytest.mark.skipif(NOT_ROOT, reason="needs root to give its capabilities up")
def test_the_agent_as_user_0_without_capabilities_counts_what_the_counters_say(tmp_path: Path) -> None:
    """What components/rapl-root and compose.rapl.yaml start."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("no setpriv here")
    as_linux_makes_it(tmp_path / "sys")
    config = f'[sources]\nsysfs = "{tmp_path / "sys"}"\nnvml = "off"\nrapl = "on"\n'
    modest = [setpriv, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    with Daemon(tmp_path / "agent", config, command=[*modest, *COMMAND]) as daemon:
        page = daemon.wait_for(lambda page: page.get("joulecar_part_up", part="source", name="rapl") == 1.0)
        assert page.label("joulecar_device_info", "method", device="package-0") == "counter"
        assert daemon.lines(r"ok  rights  user 0 +no capability")
