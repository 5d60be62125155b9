# Every target sets up what it needs: uv if it is missing, then the locked dependencies.
SHELL := /bin/bash
UV_VERSION := 0.13.9
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := $(UV) run --frozen --no-sync
export UV_PYTHON_DOWNLOADS := never
# Compiled once at installation, so that each of the many processes starts at once.
export UV_COMPILE_BYTECODE := 1
STAMP := .venv/.synced
RUNTIME := .venv/.runtime
LOCKED := uv.lock pyproject.toml $(wildcard */pyproject.toml) $(wildcard */*/pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help setup demo up test coverage check format histories faults faults-long faults-mutants bench generate clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.uv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit("CX Loop needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	@echo "Installing uv $(UV_VERSION) into .uv (once)"
	@$(PYTHON) -m venv .uv && .uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# What runs is a fraction of what checks and measures: a first demo need not wait for the rest.
$(RUNTIME): $(LOCKED) | $(filter .uv/bin/uv,$(UV))
	@$(UV) sync --frozen --inexact --no-default-groups --python $(PYTHON)
	@touch $(RUNTIME)

$(STAMP): $(LOCKED) | $(filter .uv/bin/uv,$(UV))
	@$(UV) sync --frozen --all-groups --python $(PYTHON)
	@touch $(STAMP) $(RUNTIME)

setup: $(RUNTIME) ## Install everything the other targets need

demo: $(RUNTIME) ## Run the whole loop: webhooks in; metrics, a journey and a case with an owner out
	@$(RUN) cxloop demo $(ARGS)

up: $(RUNTIME) ## Start Kafka, PostgreSQL and the four services, and keep them running
	@$(RUN) cxloop up $(ARGS)

test: $(STAMP) ## Run every test on real Kafka and PostgreSQL, with coverage
	@$(RUN) pytest -m "not faults and not mutants" --cov --cov-report= $(ARGS)

coverage: $(STAMP) ## Show what the last `make test` left uncovered
	@$(RUN) coverage report --skip-covered

check: $(STAMP) ## Format, lint, types, import rules, generated docs
	@$(RUN) ruff format --check .
	@$(RUN) ruff check .
	@$(RUN) pyright
	@$(RUN) lint-imports
	@$(RUN) cxloop generate --check

format: $(STAMP) ## Format and fix what can be fixed
	@$(RUN) ruff format .
	@$(RUN) ruff check --fix .

generate: $(STAMP) ## Write docs/generated and the topic definitions again
	@$(RUN) cxloop generate

histories: $(STAMP) ## Compare scoring with its oracle on 2,000 random histories (HISTORIES=n for more)
	@CXLOOP_HISTORIES=$(or $(HISTORIES),2000) $(RUN) pytest services/scoring/tests/oracle --no-cov -s $(ARGS)

faults: $(STAMP) ## Kill, stall and restart real processes under load (some 5 minutes)
	@$(RUN) python -m tests.faults $(ARGS)

faults-long: $(STAMP) ## The same with 300,000 events and 100 kills
	@$(RUN) python -m tests.faults --long $(ARGS)

faults-mutants: $(STAMP) ## Show that the fault runs turn red when the processor is broken on purpose
	@$(RUN) python -m tests.faults --mutants $(ARGS)

bench: $(STAMP) ## Measure: intake, scoring, end-to-end latency, memory
	@$(RUN) python -m bench $(ARGS)

clean: ## Remove the virtual environments and caches of this checkout (data in .cxloop stays)
	rm -rf .venv .uv .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage
