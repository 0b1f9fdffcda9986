"""Where the machine says it stands: only regions of the table, and no guess."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.grids.locate import from_environment, from_pod, nearby
from agent.grids.regions import regions
from agent.model import Located

LABEL = "topology.kubernetes.io/region"


@pytest.mark.parametrize(
    ("env", "zone"),
    [
        ({"AWS_REGION": "eu-west-3"}, "aws:eu-west-3"),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "aws:us-east-1"),
        ({"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "us-east-1"}, "aws:eu-west-3"),
        ({"GOOGLE_CLOUD_REGION": "us-central1"}, "gcp:us-central1"),
        ({"CLOUDSDK_COMPUTE_REGION": "us-central1"}, "gcp:us-central1"),
        ({"AZURE_REGION": "West Europe"}, "azure:westeurope"),
        ({"CLOUD_REGION": "nl-ams"}, "scaleway:nl-ams"),
        ({"CLOUD_REGION": "ovh:gra"}, "ovh:gra"),
        ({"AWS_REGION": " us-east-1 ", "CLOUD_REGION": "us-east-1"}, "aws:us-east-1"),
        ({"AWS_REGION": "", "AZURE_REGION": "uksouth"}, "azure:uksouth"),
        ({"AWS_REGION": "mars-1", "AZURE_REGION": "uksouth"}, "azure:uksouth"),
    ],
)
def test_a_clouds_variable_names_the_region(env: dict[str, str], zone: str) -> None:
    where = from_environment(env)
    assert (where.zone, where.found) == (zone, "env")
    assert "in the environment" in where.detail


def test_variables_that_contradict_each_other_are_not_believed() -> None:
    where = from_environment({"AWS_REGION": "us-east-1", "GOOGLE_CLOUD_REGION": "europe-west1"})
    assert where.zone == ""
    assert where.detail == "AWS_REGION=aws:us-east-1 and GOOGLE_CLOUD_REGION=gcp:europe-west1 contradict each other"


@pytest.mark.parametrize("text", ["FR", "California", "us-central1", "mars-1", "CA"])
def test_amazons_variable_means_a_region_of_amazon_and_nothing_else(text: str) -> None:
    where = from_environment({"AWS_REGION": text})
    assert (where.zone, where.found) == ("", "unknown")
    assert f"AWS_REGION={text!r} is no region" in where.detail


def test_without_any_variable_there_is_nothing_to_say() -> None:
    assert from_environment({"PATH": "/bin", "LANG": "fr_FR.UTF-8", "TZ": "Europe/Paris"}) == Located()


def labels(folder: Path, text: str) -> Path:
    path = folder / "labels"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        (f'app="vllm"\n{LABEL}="eu-central-1"\nteam="x=y"\n', "aws:eu-central-1"),
        (f'{LABEL}="europe-west9"', "gcp:europe-west9"),
        ('failure-domain.beta.kubernetes.io/region="westus2"\n', "azure:westus2"),
        (f'failure-domain.beta.kubernetes.io/region="westus2"\n{LABEL}="westeurope"\n', "azure:westeurope"),
    ],
)
def test_the_pods_labels_name_the_region(tmp_path: Path, text: str, zone: str) -> None:
    where = from_pod({}, labels(tmp_path, text))
    assert (where.zone, where.found) == (zone, "pod_label")
    assert "labels" in where.detail


@pytest.mark.parametrize("value", ["us-east", "rack-7", "CA", "DE", "France", "datacentre"])
def test_a_label_of_ones_own_is_not_believed(tmp_path: Path, value: str) -> None:
    where = from_pod({}, labels(tmp_path, f'{LABEL}="{value}"\n'))
    assert where.zone == ""
    assert value in where.detail


@pytest.mark.parametrize("text", ["", "app=x", f"{LABEL}=us-east-1", f'{LABEL}="', f"{LABEL}=3", "\x00\xff" * 9, LABEL])
def test_a_file_of_no_labels_says_nothing(tmp_path: Path, text: str) -> None:
    assert from_pod({}, labels(tmp_path, text)) == Located()


def test_no_file_and_a_folder_say_nothing(tmp_path: Path) -> None:
    assert from_pod({}, tmp_path / "labels") == Located()
    assert from_pod({}, tmp_path) == Located()
    assert from_pod({}, None) == Located()


def test_the_variable_of_the_downward_api_comes_before_the_file(tmp_path: Path) -> None:
    file = labels(tmp_path, f'{LABEL}="us-east-1"\n')
    where = from_pod({"JOULECAR_POD_REGION": "eu-west-3"}, file)
    assert (where.zone, where.detail) == ("aws:eu-west-3", "eu-west-3 in JOULECAR_POD_REGION")


def test_the_environment_comes_before_the_pod(tmp_path: Path) -> None:
    file = labels(tmp_path, f'{LABEL}="us-east-1"\n')
    assert nearby({"AWS_REGION": "eu-west-3"}, file).found == "env"
    assert nearby({}, file).found == "pod_label"
    assert nearby({"AWS_REGION": "mars-1"}, file).zone == "aws:us-east-1"


def test_what_was_seen_and_not_believed_is_told() -> None:
    where = nearby({"AWS_REGION": "mars-1", "JOULECAR_POD_REGION": "rack-7"}, None)
    assert (where.zone, where.found) == ("", "unknown")
    assert "mars-1" in where.detail
    assert "rack-7" in where.detail


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_region_of_the_table_or_nothing(text: str) -> None:
    for env in ({"CLOUD_REGION": text}, {"AWS_REGION": text}, {"JOULECAR_POD_REGION": text}):
        where = nearby(env, None)
        assert where.zone == "" or where.zone in regions()
        assert len(where.detail) < 400
