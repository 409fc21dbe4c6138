# Two commands do everything on a fresh machine with Python 3.11 or later: make audit, make test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CONFIG ?= configs/demo.yaml

# Data and weights for the tests; those that need them say so where they are missing.
export WAM_DATA_ROOT ?= $(abspath ../shared/data)
export WAM_MODEL_ROOT ?= $(abspath ../shared/models)
export DO_NOT_TRACK = true
export MLFLOW_DISABLE_TELEMETRY = true
export PREFECT_SERVER_ANALYTICS_ENABLED = false

.PHONY: help audit ui test test-slow lint format docs benchmark clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/.demo: pyproject.toml
	@echo "Setting up $(VENV) (PyTorch is large: this takes a few minutes once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml
	@echo "Setting up $(VENV) for development ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.demo

audit: $(VENV)/.demo ## Set up, then audit a pretrained model on photographs
	@$(BIN)/wam-audit run $(CONFIG)

ui: $(VENV)/.demo ## Serve the MLflow and Prefect pages on this machine
	@$(BIN)/wam-audit ui $(CONFIG)

lint: $(VENV)/.dev ## Everything that reads the code without running it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

test: lint ## Set up, lint, and run the tests and doctests
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

test-slow: $(VENV)/.dev ## The tests that take minutes
	$(BIN)/pytest -m slow

format: $(VENV)/.dev ## Format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(VENV)/.dev ## Time the attribution stage against the model's bare passes
	$(BIN)/python benchmarks/attribution_overhead.py

clean: ## Remove the environment and caches, not the audits
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
