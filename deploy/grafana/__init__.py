"""Grafana dashboards as code. `make docs` writes dashboards/*.json from these modules."""
