"""Where this machine stands, as far as the machine itself says so: the environment, and the labels of its pod.

A cloud region is taken only if the table of regions has it. What is found nowhere stays unknown: no default, no
average, no look-up of our own address by a stranger. agent/grids/metadata.py asks the cloud, which takes the network.

Kubernetes writes the node's region into the label topology.kubernetes.io/region (pods have a copy since 1.35,
KEP-4742). On machines of one's own that label may hold any text, so there, too, only a
region of the table counts: a bare "CA" may be Canada or California.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from agent.errors import Unavailable
from agent.grids.regions import Region, region
from agent.grids.zones import MAX_ZONE_CHARS, ZoneKind, resolve
from agent.model import Located

ZONE = "JOULECAR_ZONE"  # any zone, as in the configuration
POD_REGION = "JOULECAR_POD_REGION"  # the pod's region label, through the downward API
# By provider, the variable that wins first: Amazon's tools let AWS_REGION override the default.
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "aws": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "gcp": ("GOOGLE_CLOUD_REGION", "CLOUDSDK_COMPUTE_REGION"),
    "azure": ("AZURE_REGION",),
    "": ("CLOUD_REGION",),  # of any provider
}
LABELS = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")

_MAX_LABEL_BYTES = 64 * 1024


def nearby(env: Mapping[str, str], pod_labels: Path | None) -> Located:
    """The environment's word, else the pod's label. zone is "" if neither says anything that can be used; detail then
    tells what was seen. ZONE is not read here: it is configuration, and wrong text in it is a fault."""
    told = from_environment(env)
    if told.zone:
        return told
    label = from_pod(env, pod_labels)
    if label.zone:
        return label
    return Located(detail="; ".join(filter(None, (told.detail, label.detail))))


def from_environment(env: Mapping[str, str]) -> Located:
    """The region that the variables of the clouds' own tools name. Two clouds at once: neither is believed."""
    found: dict[str, str] = {}
    strange: list[str] = []
    for provider, names in VARIABLES.items():
        name = next((name for name in names if env.get(name, "").strip()), None)
        if name is None:
            continue
        where = region(provider, env[name]) if provider else any_region(env[name])
        if where is None:
            strange.append(f"{name}={_shown(env[name])} is no region that the table knows")
        else:
            found.setdefault(where.code, name)
    if len(found) == 1:
        ((code, name),) = found.items()
        return Located(code, "env", f"{name} in the environment")
    if found:
        said = " and ".join(f"{name}={code}" for code, name in found.items())
        return Located(detail=f"{said} contradict each other")
    return Located(detail="; ".join(strange))


def from_pod(env: Mapping[str, str], pod_labels: Path | None) -> Located:
    """The region in the pod's labels: a variable, or the file that the downward API mounts."""
    if text := env.get(POD_REGION, "").strip():
        origin = POD_REGION
    elif pod_labels is not None:
        origin = str(pod_labels)
        text = _label(pod_labels)
    if not text:
        return Located()
    where = any_region(text)
    if where is None:
        return Located(detail=f"the pod's region label {_shown(text)} is no region that the table knows")
    return Located(where.code, "pod_label", f"{where.name} in {origin}")


def any_region(text: str) -> Region | None:
    """The cloud region that a text means without its provider's name. None: no region, or a zone of another kind."""
    try:
        zone = resolve(text)
    except Unavailable:
        return None
    provider, _, name = zone.code.partition(":")
    return region(provider, name) if zone.kind is ZoneKind.CLOUD else None


def _label(path: Path) -> str:
    """The region of a downward API file, one key="value" a line; "" if there is no such file or label."""
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_LABEL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    labels: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and key in LABELS:
            labels[key] = _unquoted(value.strip())
    return next((labels[key].strip() for key in LABELS if labels.get(key)), "")


def _unquoted(value: str) -> str:
    """Kubernetes escapes values as Go's %q does; region names need no more than JSON's rules of that."""
    try:
        text = json.loads(value)
    except ValueError:
        return ""
    return text if isinstance(text, str) else ""


def _shown(text: str) -> str:
    return repr(text.strip()[:MAX_ZONE_CHARS])
