# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
IMAGE_LOCK := $(BIN)/uv pip compile --quiet --python-version 3.13 --python-platform linux --generate-hashes --no-emit-index-url --no-header --no-annotate -c requirements.lock

.PHONY: demo test soak lint bench docs pictures lock setup system-test clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Joulecar needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@# A failed attempt leaves a folder without pip behind: begin anew. As root on Debian, get what is missing.
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV) || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && echo "installing python3-venv ..." && \
		apt-get -qq update && apt-get -qq install --yes --no-install-recommends python3-venv >/dev/null && \
		$(PYTHON) -m venv --clear $(VENV); \
	} || { rm -rf $(VENV); echo "python3-venv is missing: sudo apt-get install python3-venv, then make again"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(STAMP)
	$(BIN)/joulecar demo

test: $(STAMP) system-test
	$(BIN)/python -m agent.demo.llama_server >/dev/null
	$(BIN)/python -m pytest

# The long versions, about 20 minutes: the agent killed 300 times under load, and 15 times on a full disk.
soak: $(STAMP)
	JOULECAR_KILLS=300 JOULECAR_FILLS=15 $(BIN)/python -m pytest tests/e2e/test_restart.py tests/e2e/test_full_disk.py

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(STAMP)
	$(BIN)/joulecar metrics > exporters/METRICS.md
	$(BIN)/joulecar config > deploy/config.example.toml
	$(BIN)/joulecar config --schema > deploy/config.schema.json
	$(BIN)/joulecar rules > deploy/prometheus/rules.yaml
	$(BIN)/python -m deploy.grafana.generate
	$(BIN)/python -m deploy.copies

# The README's pictures of the dashboards, from what a Prometheus answers.
pictures: $(STAMP) system-test
	$(BIN)/python -m tests.pictures

lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url --no-header -o requirements.lock pyproject.toml
	$(IMAGE_LOCK) --extra otlp --override deploy/image/without.txt -o deploy/image/requirements.txt pyproject.toml
	$(IMAGE_LOCK) --extra demo --override deploy/image/without.txt -o deploy/image/demo.txt pyproject.toml
	$(IMAGE_LOCK) -o deploy/image/build.txt deploy/image/build.in

bench: $(STAMP)
	$(BIN)/python -m tests.bench

# What the end-to-end tests run for real and PyPI does not carry.
system-test:
	@sh tests/system-packages.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
