"""`joulecar rules`: Prometheus alerting and recording rules on stdout."""

from __future__ import annotations

from pathlib import Path

from agent.config import load_budgets
from agent.rules.document import rules_yaml


def main(config: Path | None) -> int:
    """0. config: the file whose budgets get alerts; None: no budgets. Raises ConfigError."""
    print(rules_yaml(load_budgets(config) if config is not None else ()), end="")  # noqa: T201
    return 0
