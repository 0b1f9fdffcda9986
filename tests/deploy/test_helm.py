"""The Helm chart, as the real Helm renders it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
import yaml

from deploy import copies
from tests.deploy import manifests
from tests.deploy.documents import DEPLOY, Document, document, documents
from tests.deploy.manifests import PROJECT, kustomized, of_kind, pods

CHART = DEPLOY / "helm" / "joulecar"
VALUES: dict[str, Document] = {"default": {}} | {
    path.stem.removesuffix("-values"): document(path) for path in sorted(CHART.glob("ci/*-values.yaml"))
}
NAMES = sorted(VALUES)


def rendered(values: Document, release: str = "joulecar") -> tuple[Document, ...]:
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name=release, namespace="metering")
    return tuple(d for name, text in files.items() if name.endswith(".yaml") for d in documents(text))


def refused(values: Document) -> str:
    """What Helm says against these values; "" if nothing."""
    with helm.Chart.load(CHART) as chart:
        try:
            chart.validate_schema(values)
        except helm.HelmValuesError as error:
            return str(error)
    return ""


def test_helm_itself_finds_nothing_wrong() -> None:
    for values in VALUES.values():
        report = helm.lint(CHART, values, strict=True)
        assert report["errors"] == []
        assert [m["error"] for m in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("version", manifests.VERSIONS)
@pytest.mark.parametrize("name", NAMES)
def test_every_manifest_fits_every_kubernetes(name: str, version: str) -> None:
    manifests.must_fit_kubernetes(rendered(VALUES[name]), version)


@pytest.mark.parametrize("release", ["joulecar", "energy"])
@pytest.mark.parametrize("name", [n for n in NAMES if n != "sidecar"])
def test_what_names_another_thing_names_one_that_is_there(name: str, release: str, tmp_path: Path) -> None:
    found = rendered(VALUES[name], release)
    assert len(pods(found)) == 1
    manifests.must_hold_together(found, tmp_path)
    manifests.must_be_modest(found)
    manifests.must_be_this_version(found)


def test_the_sidecars_patch_is_one_that_a_deployment_takes(tmp_path: Path) -> None:
    found = rendered(VALUES["sidecar"])
    assert {d["kind"] for d in found} == {"ConfigMap", "PodMonitor"}
    (config,) = of_kind(found, "ConfigMap")
    engine = (DEPLOY / "kubernetes/overlays/vllm-sidecar/vllm.yaml").read_text(encoding="utf-8")
    (tmp_path / "engine.yaml").write_text(engine, encoding="utf-8")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    kind = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "vllm"}}
    patch = kind | yaml.safe_load(config["data"]["patch.yaml"])
    kustomization = {
        "namespace": "metering",
        "resources": ["engine.yaml", "config.yaml"],
        "patches": [{"patch": yaml.safe_dump(patch), "target": {"kind": "Deployment"}}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    patched = (*kustomized(tmp_path), *of_kind(found, "PodMonitor"))
    assert len(pods(patched)) == 1
    manifests.must_fit_kubernetes(patched, manifests.VERSIONS[-1])
    manifests.must_hold_together(patched, tmp_path)
    manifests.must_be_modest(patched)


def test_the_agents_restart_when_their_configuration_changes() -> None:
    def told(config: str) -> str:
        ((_, template),) = pods(rendered({"config": config}))
        return str(template["metadata"]["annotations"]["joulecar/config"])

    assert told("# one") == told("# one") != told("# two")


def test_the_node_is_asked_for_its_region_only_where_that_is_switched_on() -> None:
    roles = {"ClusterRole", "ClusterRoleBinding"}
    assert not roles & {d["kind"] for d in rendered({})}
    found = rendered({"nodeRegion": {"enabled": True}})
    (role,), (binding,) = of_kind(found, "ClusterRole"), of_kind(found, "ClusterRoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (account,), ((_, template),) = of_kind(found, "ServiceAccount"), pods(found)
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["metadata"]["name"], "metering")
    (init,) = template["spec"]["initContainers"]
    plain = pods(kustomized(DEPLOY / "kubernetes" / "overlays" / "cpu-nodes"))[0][1]["spec"]["initContainers"][0]
    assert {k: init[k] for k in ("command", "args", "env")} == {k: plain[k] for k in ("command", "args", "env")}
    (script,) = [d["data"]["region.py"] for d in of_kind(found, "ConfigMap") if "region.py" in d["data"]]
    assert script == (copies.COMPONENTS / "node-region" / "region.py").read_text(encoding="utf-8")


def test_without_gpus_or_counters_no_pod_asks_for_them() -> None:
    ((_, template),) = pods(rendered({}))
    assert "runtimeClassName" not in template["spec"]
    assert not any("hostPath" in v for v in template["spec"]["volumes"])
    assert "env" not in template["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"mdoe": "daemonset"}, "mdoe"),
        ({"mode": "deployment"}, "mode"),
        ({"rapl": True}, "rapl"),
        ({"mode": "sidecar", "rapl": "root"}, "rapl"),
        ({"image": {"repository": ""}}, "repository"),
        ({"image": {"repository": "joulecar", "tag": "latest"}}, "tag"),
        ({"image": {"repository": "joulecar", "tag": 0.1}}, "tag"),
        ({"gpu": {"enabled": "yes"}}, "enabled"),
        ({"config": {"grid": {"zone": "FR"}}}, "config"),
        ({"env": [{"nmae": "X"}]}, "env"),
        ({"networkPolicy": {"enginePorts": [70000]}}, "enginePorts"),
        ({"podMonitor": {"interval": "15"}}, "interval"),
        ({"resources": {"limits": None}}, "limits"),
        ({"stateHostPath": "var/lib"}, "stateHostPath"),
    ],
    ids=json.dumps,
)
def test_wrong_values_are_refused_with_their_place(values: dict[str, Any], place: str) -> None:
    assert place in refused(values)
    with pytest.raises(helm.HelmError), helm.Chart.load(CHART) as chart:
        chart.render(values, name="joulecar", namespace="metering")


def test_every_value_has_a_default_and_a_place_in_the_schema() -> None:
    with helm.Chart.load(CHART) as chart:
        values, schema = chart.values, chart.schema
        assert (chart.name, chart.version, chart.metadata["appVersion"]) == (PROJECT["name"], *[PROJECT["version"]] * 2)
    assert schema is not None
    assert set(values) == set(schema["properties"]) - {"global"}
    for key, value in values.items():
        properties = schema["properties"][key].get("properties")
        if properties is not None:
            assert set(value) == set(properties), key


def test_the_rules_are_those_of_prometheus() -> None:
    (rule,) = of_kind(rendered(VALUES["gpu"]), "PrometheusRule")
    assert rule["spec"] == document(copies.RULES)


def test_the_packaged_chart_renders_the_same(tmp_path: Path) -> None:
    archive = helm.package(CHART, destination=tmp_path)
    with helm.Chart.load(archive) as packed, helm.Chart.load(CHART) as chart:
        for values in VALUES.values():
            assert packed.render(values, name="a", namespace="b") == chart.render(values, name="a", namespace="b")
