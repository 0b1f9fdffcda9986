"""Starting and ending the demonstration's server, with scripts in its place."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from agent.clock import SystemClock
from agent.demo.server import DemoServer
from agent.errors import Unavailable
from tests.fakes.clock import FakeClock

HEALTHY = """
    import http.server, signal, sys
    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
        def log_message(self, *args): pass
    port = int(sys.argv[sys.argv.index("--port") + 1])
    with http.server.HTTPServer(("127.0.0.1", port), Health) as server:
        server.serve_forever()
"""


def program(tmp_path: Path, code: str) -> Path:
    path = tmp_path / "llama-server"
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}")
    path.chmod(0o755)
    return path


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return ") Z " in Path(f"/proc/{pid}/stat").read_text()


def server(tmp_path: Path, code: str) -> DemoServer:
    log = tmp_path / "logs" / "server.log"
    return DemoServer(program(tmp_path, code), tmp_path / "m.gguf", log, clock=SystemClock())


def test_it_is_ready_inside_the_block_and_gone_after_it(tmp_path: Path) -> None:
    with server(tmp_path, HEALTHY) as running:
        pid = running.pid
        assert pid is not None
        assert running.url.startswith("http://127.0.0.1:")
        assert not gone(pid)
    assert gone(pid)
    assert running.pid is None


def test_it_is_ended_when_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), server(tmp_path, HEALTHY) as running:
        pid = running.pid
        raise ZeroDivisionError
    assert pid is not None
    assert gone(pid)


def test_a_server_that_ends_at_once_shows_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught, server(tmp_path, "print('error: no such flag')\nraise SystemExit(1)"):
        pytest.fail("it never was ready")
    assert "error: no such flag" in caught.value.reason
    assert str(tmp_path / "logs" / "server.log") in caught.value.reason


def test_a_port_that_somebody_took_is_tried_again_with_another(tmp_path: Path) -> None:
    code = f"""
        from pathlib import Path
        tried = Path({str(tmp_path / "tried")!r})
        if not tried.exists():
            tried.touch()
            print("couldn't bind HTTP server socket")
            raise SystemExit(1)
    """
    with server(tmp_path, textwrap.dedent(code) + textwrap.dedent(HEALTHY)) as running:
        assert running.pid is not None
    assert (tmp_path / "tried").exists()


def test_a_server_that_never_gets_ready_is_given_up_and_ended(tmp_path: Path) -> None:
    code = "import signal\nprint('loading', flush=True)\nsignal.pause()"
    clock = FakeClock(mono_s=0.0)
    stuck = DemoServer(program(tmp_path, code), tmp_path / "m", tmp_path / "log", clock=clock)
    with pytest.raises(Unavailable, match="did not start"), stuck:
        pytest.fail("it never was ready")
    assert clock.now().mono_s == pytest.approx(30.0, abs=1.0)
    assert stuck.pid is None


def test_it_dies_with_us_even_if_we_are_killed(tmp_path: Path) -> None:
    binary = program(tmp_path, HEALTHY)
    ours = f"""
        import signal
        from pathlib import Path
        from agent.clock import SystemClock
        from agent.demo.server import DemoServer
        here = Path({str(tmp_path)!r})
        with DemoServer(Path({str(binary)!r}), here / "m", here / "log", clock=SystemClock()) as server:
            print(server.pid, flush=True)
            signal.pause()
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(ours)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        handle = os.pidfd_open(pid)
        parent.send_signal(signal.SIGKILL)
    try:
        # Readable when the process has ended: no guess at how long that takes.
        assert select.select([handle], [], [], 20)[0], "the server outlived the program that started it"
    finally:
        os.close(handle)
