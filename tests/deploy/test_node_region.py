"""The init container that asks the Kubernetes API for its node's region, against a stand-in of the API."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from agent.grids.locate import from_pod
from tests.deploy.documents import DEPLOY
from tests.fakes.engine_server import Answer, EngineServer, answer
from tests.fakes.tls import self_signed

SCRIPT = DEPLOY / "kubernetes" / "components" / "node-region" / "region.py"
TOKEN = "canary-of-a-token"
LABEL = "topology.kubernetes.io/region"


def node(labels: object) -> Answer:
    return answer(body=json.dumps({"metadata": {"name": "node-1", "labels": labels}}).encode())


class Pod:
    """What the init container is given, and what it leaves behind."""

    def __init__(self, folder: Path) -> None:
        self.secrets = folder / "secrets"
        self.secrets.mkdir()
        (self.secrets / "token").write_text(f"{TOKEN}\n")
        self.certificate = self_signed(self.secrets)
        (self.secrets / "ca.crt").write_bytes(self.certificate.read_bytes())
        self.labels = folder / "labels"

    def asks(self, api: EngineServer) -> str:
        """Run it; what it said."""
        env = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(api.port),
            "NODE_NAME": "node-1",
            "https_proxy": "http://127.0.0.1:1",  # a proxy of the environment has no business here
        }
        argv = [sys.executable, "-I", str(SCRIPT), str(self.secrets), str(self.labels)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, "a pod shall start without a region, too"
        assert TOKEN not in done.stdout + done.stderr
        return done.stderr


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


def api(pod: Pod, found: Answer) -> EngineServer:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pod.certificate)
    return EngineServer({"/api/v1/nodes/node-1": found}, tls)


def test_the_region_is_written_where_the_agent_finds_it(pod: Pod) -> None:
    with api(pod, node({LABEL: "eu-west-3", "other": 'a "quoted" one'})) as server:
        assert "eu-west-3" in pod.asks(server)
    ((path, headers),) = server.asked
    assert (path, headers["authorization"]) == ("/api/v1/nodes/node-1", f"Bearer {TOKEN}")
    assert pod.labels.read_text() == f'{LABEL}="eu-west-3"\n'
    located = from_pod({}, pod.labels)
    assert (located.found, "eu-west-3" in located.zone) == ("pod_label", True)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (node({}), "no such label"),
        (answer(403, b'{"kind": "Status"}'), "403"),
        (answer(body=b"<html>"), "unknown"),
        (answer(body=b"[]"), "unknown"),
        (node(None), "unknown"),
    ],
    ids=["no label", "forbidden", "no JSON", "a list", "null"],
)
def test_without_an_answer_the_pod_starts_and_the_log_says_why(pod: Pod, found: Answer, said: str) -> None:
    with api(pod, found) as server:
        assert said in pod.asks(server)
    assert pod.labels.read_text() == ""


def test_an_api_server_with_another_certificate_is_not_given_the_token(pod: Pod, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (pod.secrets / "ca.crt").write_bytes(self_signed(other).read_bytes())
    with api(pod, node({LABEL: "eu-west-3"})) as server:
        assert "certificate" in pod.asks(server).lower()
    assert server.asked == []
    assert pod.labels.read_text() == ""
