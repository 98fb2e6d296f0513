# `make` alone lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.locked
# As many at once as the smallest machine has cores. The tests of a file stay together, for they share what its fixtures
# start; files keep their order, in which the long ones of tests/endtoend do not come last, beside an idle core.
AT_ONCE := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help setup run test test-install lint format test-tools bench fuzz soak package docs

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Make .venv with henge and the test tools, from the lock file

$(STAMP): requirements.lock pyproject.toml installer/setup.sh
	@PYTHON=$(PYTHON) bash installer/setup.sh $(VENV)
	@touch $@

run: setup ## Start the appliance
	$(BIN)/henge up

test: setup test-tools lint ## Style, types, walls between the rooms, and every test
	$(BIN)/python -m pytest $(AT_ONCE)

lint: setup ## Style, types, and the walls between the rooms
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Bring the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-tools: ## Install what the tests need beside Python when it is missing: chromium, libfaketime, prometheus, graphite-web, npm clients
	@bash installer/test_tools.sh

docs: setup ## Build the docs as a site, which the appliance shows at /docs
	$(BIN)/python -m handbook.build

package: docs ## Build the executable and its packages into dist/
	$(BIN)/python -m installer.build

test-install: package ## The tests that install and start what `make package` built
	HENGE_EXECUTABLE=$(CURDIR)/dist/henge/henge $(BIN)/python -m pytest tests/installer tests/endtoend/test_main_job.py tests/endtoend/test_open.py

bench: setup ## Measure ingest and query speed (python -m tests.bench)
	$(BIN)/python -m tests.bench ingest --protocol graphite

fuzz: setup ## The tests in the profile full: 2,000 examples of each property at random, every crash, bench and look
	HYPOTHESIS_PROFILE=full $(BIN)/python -m pytest $(AT_ONCE) --timeout 3600 tests/appliance tests/tsdb tests/checks tests/bench tests/browser tests/soak tests/endtoend/test_prometheus_twin.py

soak: setup ## An hour of samples, checks, pages, queries and reloads at once, with memory, lateness and the log watched
	$(BIN)/python -m tests.soak
