"""Stand-in engines in processes of their own: what looks for an engine by its port finds a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType

from tests.fakes.engine import FakeEngine


class EngineProcess:
    """A FakeEngine that listens in a child process, inside the `with` block."""

    def __init__(self, port: int = 0) -> None:
        """port: 0 takes any that is free."""
        self._port = port
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> EngineProcess:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = self._line()
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def restart(self) -> None:
        """Another process on the same port: it counts from 0 and does nothing yet."""
        self.__exit__(None, None, None)
        self._port = int(self.url.rsplit(":", 1)[1])
        self.__enter__()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def change(self, **per_s: float) -> None:
        """As FakeEngine.change(); in force when this returns."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(per_s) + "\n")
        self._process.stdin.flush()
        self._line()

    def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        assert line, "the stand-in engine ended"
        return line


def main() -> None:
    """Serve until stdin ends; every line of it is a change."""
    with FakeEngine(port=int(sys.argv[1])) as engine:
        print(engine.url, flush=True)
        for line in sys.stdin:
            engine.change(**json.loads(line))
            print("changed", flush=True)


if __name__ == "__main__":
    main()
