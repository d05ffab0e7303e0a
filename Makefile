# Everything a person or the CI does with this repository. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Compiled files save seconds at every start of Airflow and Beam.
unexport PYTHONDONTWRITEBYTECODE

VENV ?= .madhatter/venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHONS := 3.11 3.12 3.13
ARGS ?=
KEEP ?=
PYTEST_ARGS ?=

.PHONY: help venv demo test test-unit test-integration test-e2e test-chaos test-all chaos check format local-up local-down \
        doctor screenshots constraints clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(READY) ## Create .madhatter/venv with pinned versions (uv if present, else pip)

$(READY): setup.cfg pyproject.toml $(wildcard constraints/*.txt)
	@python=$$(./scripts/find-python); \
	version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	echo "Python $$version in $(VENV)"; \
	if uv --version >/dev/null 2>&1; then \
	  [ -x $(BIN)/python ] || uv venv --quiet --python "$$python" $(VENV); \
	  uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints/$$version.txt -e '.[dev]'; \
	else \
	  [ -x $(BIN)/python ] || "$$python" -m venv $(VENV); \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/$$version.txt -e '.[dev]'; \
	fi
	@touch $@

demo: $(READY) ## From nothing to the first caught fraud. ARGS="--seed 7 --rate 300", KEEP=1 leaves it running
	$(BIN)/madhatter demo $(if $(KEEP),--keep) $(ARGS)

# Files of unit and integration tests two at a time; what runs the whole platform alone.
PAIRED := -n 2 --dist loadfile --no-loadscope-reorder tests/unit tests/integration

test: $(READY) ## Unit, integration and end-to-end tests; names what it skipped and why
	$(BIN)/python -m pytest $(PAIRED) $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/e2e $(PYTEST_ARGS)

test-unit: $(READY) ## Tests without any service
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

test-integration: $(READY) ## Tests against real local services
	$(BIN)/python -m pytest tests/integration $(PYTEST_ARGS)

test-e2e: $(READY) ## The demo, shortened
	$(BIN)/python -m pytest tests/e2e $(PYTEST_ARGS)

test-chaos: $(READY) ## kill -9 under load, checked with the offset-set oracle
	$(BIN)/python -m pytest tests/chaos $(PYTEST_ARGS)

test-all: $(READY) ## Everything: test and test-chaos
	$(BIN)/python -m pytest $(PAIRED) $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/e2e tests/chaos $(PYTEST_ARGS)

chaos: $(READY) ## The long one: 25 kill -9 at every boundary, 220 random ones, 10,000 examples a property
	MADHATTER_CRASH_SEEDS=25 MADHATTER_CHAOS_ROUNDS=10 HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -s \
	  tests/unit/core/slices tests/unit/core/runs tests/integration/test_crash_points.py tests/chaos \
	  $(PYTEST_ARGS)

check: $(READY) ## Linter, formatter, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --explicit-package-bases tests
	$(BIN)/lint-imports

format: $(READY) ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

local-up: $(READY) ## Start the local platform and leave it running
	$(BIN)/madhatter local up $(ARGS)

local-down: $(READY) ## End the local platform; nothing is left running
	$(BIN)/madhatter local down

doctor: $(READY) ## Say what this machine lacks and how to get it
	$(BIN)/madhatter doctor

screenshots: $(READY) ## Pictures of the control room into docs/images (ARGS="--all DIR": every page, every look); needs `make demo KEEP=1` and a Chromium
	$(BIN)/python scripts/screenshots.py $(ARGS)

constraints: ## Resolve constraints/*.txt anew from setup.cfg (needs uv)
	@for version in $(PYTHONS); do \
	  echo "constraints/$$version.txt"; \
	  uv pip compile --quiet --upgrade --no-header --no-annotate \
	    --python-version $$version --extra dev setup.cfg -o constraints/$$version.txt; \
	done

clean: ## End the platform and delete all that was made here
	@if [ -x $(BIN)/madhatter ] && [ -e .madhatter/state.json ]; then $(BIN)/madhatter local down; fi
	rm -rf .madhatter build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
