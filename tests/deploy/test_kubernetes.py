"""The kustomizations, as the real kustomize renders them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import kubernetes_validate
import pytest

from deploy import copies
from exporters.web import application
from tests.deploy import manifests
from tests.deploy.documents import DEPLOY, Document, document, documents
from tests.deploy.manifests import kustomized, of_kind, pods

FOLDER = DEPLOY / "kubernetes"
OVERLAYS = sorted(p.parent.name for p in FOLDER.glob("overlays/*/kustomization.yaml"))
ROOTS = {**{name: FOLDER / "overlays" / name for name in OVERLAYS}, "daemonset": FOLDER / "daemonset"}
NAMES = sorted(ROOTS)


def rendered(name: str) -> tuple[Document, ...]:
    return kustomized(ROOTS[name])


@pytest.mark.parametrize("version", manifests.VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_every_manifest_fits_every_kubernetes(name: str, version: str) -> None:
    manifests.must_fit_kubernetes(rendered(name), version)


def test_a_wrong_key_would_be_seen() -> None:
    load, _ = pods(rendered("daemonset"))[0]
    wrong = {**load, "spec": {**load["spec"], "selectr": {}}}
    with pytest.raises(kubernetes_validate.ValidationError, match="selectr"):
        manifests.must_fit_kubernetes([wrong], manifests.VERSIONS[-1])


@pytest.mark.parametrize("name", NAMES)
def test_what_names_another_thing_names_one_that_is_there(name: str, tmp_path: Path) -> None:
    assert pods(rendered(name))
    manifests.must_hold_together(rendered(name), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_no_pod_has_a_right_that_measuring_does_not_need(name: str) -> None:
    manifests.must_be_modest(rendered(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_images_are_of_this_version(name: str) -> None:
    manifests.must_be_this_version(rendered(name))


def test_every_part_is_rendered_by_some_overlay() -> None:
    used = {
        (FOLDER / "overlays" / name / part).resolve()
        for name in OVERLAYS
        for key in ("resources", "components")
        for part in document(FOLDER / "overlays" / name / "kustomization.yaml").get(key, [])
    }
    parts = {p.parent.resolve() for p in FOLDER.rglob("kustomization.yaml")} - {p.resolve() for p in ROOTS.values()}
    assert parts | {(FOLDER / "daemonset").resolve()} <= used


def test_the_probes_ask_for_pages_that_the_agent_has() -> None:
    probes = {
        container[probe]["httpGet"]["path"]
        for name in NAMES
        for _, template in pods(rendered(name))
        for container in manifests.our_containers(template)
        for probe in ("livenessProbe", "readinessProbe")
        if probe in container
    }
    assert probes == {"/healthz", "/readyz"}
    app = application(lambda _: (b"", "text/plain"), lambda: None, lambda: None, {}, {})

    async def statuses() -> set[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://agent") as client:
            return {(await client.get(path)).status_code for path in probes}

    assert asyncio.run(statuses()) == {200}


def test_the_sidecar_leaves_the_engine_as_it_was() -> None:
    ((_, template),) = pods(rendered("vllm-sidecar"))
    (plain,) = documents((FOLDER / "overlays/vllm-sidecar/vllm.yaml").read_text(encoding="utf-8"))
    engines = [c for c in template["spec"]["containers"] if c["name"] != "joulecar"]
    assert engines == plain["spec"]["template"]["spec"]["containers"]
    ours = {"joulecar-config", "joulecar-podinfo", "joulecar-state"}
    left = [v for v in template["spec"]["volumes"] if v["name"] not in ours]
    assert left == plain["spec"]["template"]["spec"]["volumes"]
    assert "nvidia.com/gpu" not in str(manifests.agent_container(template)), "no GPU is taken from the engine"


def test_the_sidecar_is_added_only_where_it_is_asked_for(tmp_path: Path) -> None:
    text = (FOLDER / "overlays/vllm-sidecar/vllm.yaml").read_text(encoding="utf-8")
    (tmp_path / "vllm.yaml").write_text(text.replace("joulecar: sidecar", "other: label"), encoding="utf-8")
    target = tmp_path / "sidecar"
    target.mkdir()
    for file in (FOLDER / "sidecar").iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    (tmp_path / "kustomization.yaml").write_text("resources: [vllm.yaml]\ncomponents: [sidecar]\n", encoding="utf-8")
    assert not pods(kustomized(tmp_path))


def test_an_agent_asks_the_engine_of_its_own_node() -> None:
    found = rendered("gpu-nodes")
    (service,) = of_kind(found, "Service")
    assert service["spec"]["internalTrafficPolicy"] == "Local"
    (port,) = service["spec"]["ports"]
    name, space = service["metadata"]["name"], service["metadata"]["namespace"]
    (config,) = [d["data"]["joulecar.toml"] for d in of_kind(found, "ConfigMap")]
    assert f'url = "http://{name}.{space}.svc:{port["port"]}"' in config


def test_roles_exist_only_where_the_nodes_label_is_asked_for() -> None:
    for name in NAMES:
        roles = of_kind(rendered(name), "ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding")
        assert {r["kind"] for r in roles} == ({"ClusterRole", "ClusterRoleBinding"} if name == "cpu-nodes" else set())
    found = rendered("cpu-nodes")
    (binding,) = of_kind(found, "ClusterRoleBinding")
    (role,) = of_kind(found, "ClusterRole")
    (account,) = of_kind(found, "ServiceAccount")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["metadata"]["name"], account["metadata"]["namespace"])
    ((_, template),) = pods(found)
    holders = [
        c["name"]
        for c in (*template["spec"]["containers"], *template["spec"]["initContainers"])
        if any(m["name"] == "api" for m in c["volumeMounts"])
    ]
    assert holders == ["node-region"], "the agent itself holds no token"


def test_the_copies_are_fresh() -> None:
    for path, text in copies.copies().items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `make docs`"


def test_the_rules_are_those_of_prometheus_and_promtool_takes_them(tmp_path: Path) -> None:
    plain = document(copies.RULES)
    for name in ("gpu-nodes", "cpu-nodes"):
        (rule,) = of_kind(rendered(name), "PrometheusRule")
        assert rule["spec"] == plain
        assert "SUCCESS" in manifests.promtool_takes(rule["spec"], tmp_path)
