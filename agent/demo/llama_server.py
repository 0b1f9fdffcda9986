"""Finds a real llama-server, or builds one and keeps it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from agent.clock import SystemClock
from agent.demo import llama_build
from agent.demo.commands import Runner, SubprocessRunner
from agent.demo.progress import ProgressLine
from agent.errors import Unavailable
from agent.ports import Clock

ENV = "JOULECAR_LLAMA_SERVER"


def default_cache_dir(env: Mapping[str, str] | None = None) -> Path:
    """${XDG_CACHE_HOME:-~/.cache}/joulecar: outside the repository, so that a fresh clone starts at once."""
    base = (os.environ if env is None else env).get("XDG_CACHE_HOME", "")
    # The specification says that a relative path is to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "joulecar"


def find_or_build(
    cache_dir: Path,
    progress: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    which: Callable[[str], str | None] = shutil.which,
    runner: Runner | None = None,
    clock: Clock | None = None,
    sources: llama_build.Sources = llama_build.LLAMA_CPP,
) -> Path:
    """A llama-server that runs: the one that JOULECAR_LLAMA_SERVER names, one on PATH, the cached one, or a new one.

    Building takes minutes, once: progress gets a line about it at least every second.

    Raises Unavailable: none is there and none can be built; says why and the fix.
    """
    env = os.environ if env is None else env
    runner = runner or SubprocessRunner()
    clock = clock or SystemClock()

    if named := env.get(ENV):
        path = Path(named)
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise Unavailable(f"{ENV}={named} is not an executable file", f"correct or unset {ENV}")
        return path
    if on_path := which("llama-server"):
        return Path(on_path)

    name = f"llama-server-{sources.version}-{platform.machine()}"
    cached = cache_dir / name / "llama-server"
    if _runs(cached, runner):
        return cached
    cache_dir.mkdir(parents=True, exist_ok=True)
    with _lock(cache_dir / f"{name}.lock", clock, progress):
        if _runs(cached, runner):  # somebody else built it while we waited
            return cached
        tools = llama_build.find_tools(which, env)
        work_dir = cache_dir / f"{name}.build"
        built = llama_build.build(work_dir, sources, tools=tools, runner=runner, clock=clock, progress=progress)
        if not _runs(built, runner):
            raise Unavailable(f"the llama-server that was built does not run: {built}", llama_build.OWN_SERVER_FIX)
        cached.parent.mkdir(parents=True, exist_ok=True)
        built.replace(cached)  # same file system: whoever looks sees all of it or nothing
        shutil.rmtree(work_dir, ignore_errors=True)
    return cached


def _runs(binary: Path, runner: Runner) -> bool:
    """Whether it starts here at all: a cache may be shared with another machine or outlive a system upgrade."""
    if not binary.is_file():
        return False
    try:
        return runner.run([str(binary), "--version"], cwd=binary.parent, log=Path(os.devnull), on_line=_ignore) == 0
    except OSError:
        return False


def _ignore(_: str) -> None:
    pass


@contextlib.contextmanager
def _lock(path: Path, clock: Clock, progress: Callable[[str], None]) -> Iterator[None]:
    """One builder at a time; the kernel lets go of the lock when its holder dies."""
    start_s = clock.now().mono_s
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited_s = clock.now().mono_s - start_s
                progress(f"llama-server: another process is building it, waiting {waited_s:.0f} s")
                if not clock.wait_until(clock.now().mono_s + 1.0):
                    raise Unavailable("stopped while another process was building llama-server") from None
        yield


def main() -> int:
    """Have the server ready (for `make test`, which must not be silent while it builds). The exit status."""
    line = ProgressLine(sys.stderr, SystemClock())
    try:
        path = find_or_build(default_cache_dir(), line)
    except Unavailable as error:
        line.close()
        sys.stderr.write(f"{error.reason}\n  fix: {error.fix}\n")
        return 1
    line.close()
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
