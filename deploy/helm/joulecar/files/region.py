"""Asks the Kubernetes API for the region of this pod's node and writes it down as the downward API would.

Never fails a pod: without an answer the file is empty, and `joulecar check` says that no zone is known.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

LABEL = "topology.kubernetes.io/region"
MAX_BYTES = 4 * 1024 * 1024
TIMEOUT_S = 10.0


def region(secrets: Path) -> str:
    """The label's value; "" if the node has none. Errors: OSError, ValueError, KeyError."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"https://{host}:{port}/api/v1/nodes/{quote(os.environ['NODE_NAME'], safe='')}",
        headers={"Authorization": f"Bearer {(secrets / 'token').read_text().strip()}"},
    )
    trust = ssl.create_default_context(cafile=str(secrets / "ca.crt"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        node = json.loads(answer.read(MAX_BYTES))
    return str(node["metadata"].get("labels", {}).get(LABEL, ""))


def main(secrets: Path, labels: Path) -> None:
    """Write the file, always."""
    found = ""
    try:
        found = region(secrets)
        sys.stderr.write(f"{LABEL}: {found or 'the node has no such label'}\n")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.stderr.write(f"the node's region is unknown: {error}\n")  # an HTTP error tells its status, never the token
    labels.write_text(f"{LABEL}={json.dumps(found)}\n" if found else "", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
