"""The images: what can be known of them without a container engine, and their packages run for real."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from urllib.parse import urljoin

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.dockerfile import Instruction, last_stage, read, variables
from tests.fakes.daemon import Daemon, environment

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
AGENT = DEPLOY / "Dockerfile"
DOCKERFILES = [AGENT, DEPLOY / "demo.Dockerfile"]
LISTS = ["requirements.txt", "build.txt", "demo.txt"]


def pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Name -> (version, hashes) of a file of requirements."""
    found: dict[str, tuple[str, frozenset[str]]] = {}
    for block in re.split(r"\n(?=\S)", path.read_text(encoding="utf-8")):
        if match := re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", block):
            hashes = frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", block))
            found[canonicalize_name(match[1])] = (match[2], hashes)
    return found


def left_out() -> set[str]:
    lines = (DEPLOY / "image" / "without.txt").read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(line.split()[0]) for line in lines if line and not line.startswith("#")}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_what_is_copied_is_in_the_repository_and_in_the_build_context(path: Path) -> None:
    copied = [
        source
        for i in read(path)
        if i.word == "COPY" and not any(o.startswith("--from=") for o in i.options)
        for source in i.paths[:-1]
    ]
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line[1:] for line in lines if line.startswith("!")]
    assert "*" in lines
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source == k or source.startswith(f"{k}/") for k in kept), f".dockerignore leaves out {source}"


def test_the_build_context_holds_nothing_that_could_be_a_secret_or_a_history() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / k).exists() for k in kept)
    assert not any(fnmatch.fnmatch(name, k) for k in kept for name in (".git", ".env", ".venv", "tests", "deploy"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda p: p.name)
def test_the_image_runs_without_root_and_without_a_shell(path: Path) -> None:
    stage = last_stage(read(path))
    users = [i.rest for i in stage if i.word == "USER"]
    assert len(users) == 1
    assert int(users[0].split(":")[0]) >= 1000, "a number: runAsNonRoot cannot look up a name"
    assert not [i for i in stage if i.word == "RUN"]
    for i in stage:
        if i.word in ("ENTRYPOINT", "CMD"):
            assert all(isinstance(word, str) for word in i.words)


def test_no_image_is_taken_from_a_moving_tag_or_holds_a_secret() -> None:
    for path in DOCKERFILES:
        instructions = read(path)
        images = [i.rest.split()[0] for i in instructions if i.word == "FROM"]
        defaults = {i.rest.split("=")[0]: i.rest.split("=")[1] for i in instructions if i.word == "ARG"}
        for image in images:
            tag = image.partition(":")[2]
            tag = defaults.get(tag.strip("${}"), tag)
            assert re.match(r"\d+\.\d+-|trixie-", tag), image
        named = " ".join(i.rest for i in instructions if i.word in ("ARG", "ENV"))
        assert not re.search(r"TOKEN|PASSWORD|SECRET|_KEY", named)


def test_the_labels_name_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    stage = last_stage(read(AGENT))
    assert Instruction("ARG", f"VERSION={project['version']}") in stage
    (labels,) = [i.rest for i in stage if i.word == "LABEL"]
    for key in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{key}=" in labels
    assert f'licenses="{project["license"]}"' in labels


@pytest.mark.parametrize("name", LISTS)
def test_packages_are_pinned_by_hash_to_what_was_tested(name: str) -> None:
    locked = pins(ROOT / "requirements.lock")
    listed = pins(DEPLOY / "image" / name)
    assert listed
    assert all(hashes for _, hashes in listed.values())
    if name == "build.txt":  # hatchling, which no test needs
        listed = {k: v for k, v in listed.items() if k in locked}
    versions = set(re.findall(r"^([^\s=]+==[^\s;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    for package, (version, hashes) in listed.items():
        assert f"{package}=={version}" in versions, f"{package}: run `make lock`"
        if locked[package][0] == version:
            assert hashes <= locked[package][1], package


def test_the_image_holds_what_its_packages_ask_for_but_for_what_is_left_out() -> None:
    listed = pins(DEPLOY / "image" / "requirements.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {Requirement(text) for text in project["dependencies"]}
    for package in listed:
        asked |= {Requirement(text) for text in metadata.requires(package) or ()}
    linux = {"extra": "", "sys_platform": "linux", "platform_system": "Linux", "python_version": "3.13"}
    needed = {canonicalize_name(r.name) for r in asked if r.marker is None or r.marker.evaluate(linux)}
    assert needed - set(listed) == left_out() & needed
    assert not left_out() & set(listed)
    assert {"pandas", "numpy", "pytest", "mypy"}.isdisjoint(listed)


def test_the_image_builds_with_the_backend_that_the_project_names() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]
    assert (DEPLOY / "image" / "build.in").read_text(encoding="utf-8").split() == build["requires"]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the image's packages and no others, and the agent itself."""
    folder = tmp_path_factory.mktemp("image")
    for package in pins(DEPLOY / "image" / "requirements.txt"):
        for file in metadata.distribution(package).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(metadata.distribution(package).locate_file(top))))
    for top in ("agent", "exporters"):
        (folder / top).symlink_to(ROOT / top)
    for info in Path(str(metadata.distribution("joulecar").locate_file(""))).glob("joulecar-*.dist-info"):
        (folder / info.name).symlink_to(info)
    return folder


def test_the_images_packages_alone_are_enough_to_measure_and_to_answer_the_health_check(
    packages: Path, tmp_path: Path
) -> None:
    stage = last_stage(read(AGENT))
    (entry,) = [i.words for i in stage if i.word == "ENTRYPOINT"]
    (command,) = [i.words for i in stage if i.word == "CMD"]
    (health,) = [i.words for i in stage if i.word == "HEALTHCHECK"]
    assert (entry, command[:2], health[:2]) == (["joulecar"], ["run", "--listen"], ["python", "-I"])
    python = [sys.executable, "-S"]  # -S: this test's own packages are out of reach
    env = {"PYTHONPATH": str(packages), "PYTHONNOUSERSITE": "1"}
    modules = [
        "agent.engines.scrape",
        "agent.grids.yearly",
        "agent.grids.client",
        "agent.sources.nvml",
        "exporters.web",
    ]
    probe = f"import {', '.join(modules)}, pydantic, sys; print(pydantic.__file__, 'pandas' in sys.modules)"
    told = subprocess.run([*python, "-c", probe], env=environment(env), capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == [str(packages / "pydantic" / "__init__.py"), "False"]

    config = '[grid]\nzone = "US-CA"\nproviders = ["table"]\n'
    with Daemon(tmp_path, config, env=env, command=[*python, "-m", "agent.cli"]) as daemon:
        daemon.wait_for(lambda page: page.total("joulecar_device_energy_joules_total") > 0)
        address = variables(stage)["JOULECAR_HEALTHZ"].replace("http://127.0.0.1:9420/", urljoin(daemon.url, "/"))
        check = [sys.executable, *health[1:]]
        well = subprocess.run(check, env={"JOULECAR_HEALTHZ": address}, capture_output=True, check=False)
        assert well.returncode == 0, well.stderr
    gone = subprocess.run(check, env={"JOULECAR_HEALTHZ": address}, capture_output=True, check=False)
    assert gone.returncode == 1, "nobody answers any more"


def test_the_demo_engine_is_made_with_the_options_of_this_llama_server() -> None:
    """Every option of the image's command line is known to the server that the tests build."""
    from agent.demo.llama_server import default_cache_dir  # noqa: PLC0415

    built = sorted(default_cache_dir().glob("*/llama-server"))
    if not built:
        pytest.skip("no llama-server has been built here: `make test` does")
    (entry,) = [i.words for i in last_stage(read(DOCKERFILES[1])) if i.word == "ENTRYPOINT"]
    known = subprocess.run([built[-1], "--help"], capture_output=True, text=True, check=False).stdout
    for option in entry[1:]:
        if option.startswith("--"):
            assert re.search(rf"{re.escape(option)}\b", known), option
