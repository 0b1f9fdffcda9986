"""What is said of deploy/ leads somewhere, and the files of deploy/ speak of nothing but the product."""

from __future__ import annotations

import re

from tests.deploy.documents import DEPLOY, ROOT

NAMED = re.compile(r"(?<![\w/])deploy/[\w./-]*\w")
TEXTS = [
    path
    for path in sorted(DEPLOY.rglob("*"))
    if path.is_file() and path.suffix not in (".png", ".json", ".pyc") and path.parent != DEPLOY / "image"
]
SPEAKERS = [ROOT / "README.md", ROOT / "Makefile", *sorted((ROOT / "agent").rglob("*.py")), *TEXTS]


def test_every_path_of_deploy_that_is_named_exists() -> None:
    named = {(path, one) for path in SPEAKERS for one in NAMED.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 30
    assert [(path, one) for path, one in named if not (ROOT / one).exists()] == []


def test_the_readme_names_every_way_to_deploy() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    told = readme.partition("\n## Deploy\n")[2].partition("\n## Security\n")[0]
    for path in (*(DEPLOY / "kubernetes" / "components").iterdir(), *(DEPLOY / "kubernetes" / "overlays").iterdir()):
        assert path.name in told, path
    for path in (*DEPLOY.glob("compose*.yaml"), *(DEPLOY / "systemd").iterdir()):
        assert path.name in told, path


def test_no_registry_is_named() -> None:
    """Images are called by their short names; whose registry they come from is for whoever deploys to say."""
    host = re.compile(r"(?i)\b(ghcr\.io|quay\.io|gcr\.io|docker\.io|nvcr\.io|registry\.k8s\.io)\b")
    assert [path for path in TEXTS if host.search(path.read_text(encoding="utf-8"))] == []
