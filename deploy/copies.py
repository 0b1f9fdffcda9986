"""Carries files to where Kubernetes or Helm needs a copy of them: `python -m deploy.copies`, part of `make docs`.

As text, not as values: comments stay.
"""

from __future__ import annotations

from pathlib import Path

DEPLOY = Path(__file__).parent
RULES = DEPLOY / "prometheus" / "rules.yaml"
COMPONENTS = DEPLOY / "kubernetes" / "components"
CHART_FILES = DEPLOY / "helm" / "joulecar" / "files"  # a chart cannot reach outside its own folder

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


def copies() -> dict[Path, str]:
    """What each copy should hold."""
    rules = RULES.read_text(encoding="utf-8")
    region = (COMPONENTS / "node-region" / "region.py").read_text(encoding="utf-8")
    return {
        COMPONENTS / "prometheus-operator" / "prometheusrule.yaml": manifest(rules),
        CHART_FILES / "rules.yaml": rules,
        CHART_FILES / "region.py": region,
    }


def main() -> None:
    """Write them."""
    for path, text in copies().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
