"""Carries prometheus/rules.yaml to where Kubernetes needs a copy: `python -m deploy.prometheusrule` (`make docs`).

As text, not as values: its comments stay.
"""

from __future__ import annotations

from pathlib import Path

DEPLOY = Path(__file__).parent
RULES = DEPLOY / "prometheus" / "rules.yaml"
MANIFEST = DEPLOY / "kubernetes" / "components" / "prometheus-operator" / "prometheusrule.yaml"
CHART = DEPLOY / "helm" / "joulecar" / "files" / "rules.yaml"

_HEAD = """\
# Made of deploy/prometheus/rules.yaml by `make docs`. Rules for budgets of yours: `joulecar rules --config FILE`.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: joulecar
  namespace: joulecar
  labels:
    app.kubernetes.io/name: joulecar
spec:
"""


def manifest(rules: str) -> str:
    """The PrometheusRule that holds the groups of a file of rules."""
    lines = rules[rules.index("groups:") :].splitlines()
    return _HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines)


def main() -> None:
    """Write both copies."""
    rules = RULES.read_text(encoding="utf-8")
    MANIFEST.write_text(manifest(rules), encoding="utf-8")
    CHART.parent.mkdir(parents=True, exist_ok=True)
    CHART.write_text(rules, encoding="utf-8")


if __name__ == "__main__":
    main()
