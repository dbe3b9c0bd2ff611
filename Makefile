# Everything starts from Python 3.11 and make; `make demo` and `make test` set up what is missing.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One process a core; the tests of a file stay together, since they share what was trained for them.
SPREAD := -n auto --dist loadfile

.PHONY: help setup demo test test-fast lint type bench play label clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(STAMP) ## make .venv and install everything into it

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, or name another one: make PYTHON=python3.12 setup" >&2; exit 2; }
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing into $(VENV) (the first time takes some minutes)"
	@rm -rf *.egg-info # an older one here would hide the commands that the new one declares
	@$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## train partners and an ego on one kitchen, score it, write the report
	@$(BIN)/coord demo

test: $(STAMP) ## run all tests
	@$(BIN)/python -m pytest $(SPREAD)

test-fast: $(STAMP) ## run the tests that take seconds
	@$(BIN)/python -m pytest $(SPREAD) -m 'not slow and not learn'

lint: $(STAMP) ## check the style
	@$(BIN)/ruff check .

type: $(STAMP) ## check the types
	@$(BIN)/mypy

bench: $(STAMP) ## measure speed, one JSON line each
	@$(BIN)/coord bench kitchen
	@$(BIN)/coord bench ppo

play: $(STAMP) ## play with an agent
	@$(BIN)/coord play

label: $(STAMP) ## compare clips of a run that learns from preferences
	@$(BIN)/coord label

clean: ## remove caches and build leftovers; keeps .venv, runs and demo
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find coord populations play configs tests -name __pycache__ -type d -prune -exec rm -rf {} +
