"""What this program is."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata


@cache
def version() -> str:
    """The installed distribution's version; "unknown" when run from a bare checkout."""
    try:
        return metadata.version("joulecar")
    except metadata.PackageNotFoundError:
        return "unknown"


def python() -> str:
    return platform.python_version()
