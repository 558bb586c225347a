# Tacit's commands. `make pilot` and `make test` need python3 (3.11 to 3.13) with venv, and make; nothing else.
#   make pilot        install the locked core into .venv, run the pilot on a simulated SOC, leave pilot/report.html
#   make test         install the development tools, run every test        (ARGS='tests/guard -x' narrows it)
#   make torch        add PyTorch, for the networks and their tests (TORCH='torch==2.13.0' names the build)
#   make kernel       add the compiled reader of logs (needs a compiler of C++ and Python's headers)
#   make synthetic    add mbi, for made-up records and their tests
#   make spark        add PySpark, for logs on a cluster and their tests (needs Java 17 or later)
#   make check        style, types, import floors, size rules, doctests
#   make bench        every benchmark row, written to benchmarks/RESULTS.md
#   make docs         the documentation as a site in site/
#   make lock         resolve the dependencies anew and write requirements/
#   make clean        remove what the commands above made, except pilot/: it holds a ledger of what was spent
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
TORCH ?= torch
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-compile --only-binary :all:
# Compiled once, on all cores: pip does it on one, and leaving it out would cost every later start seconds.
COMPILE := $(BIN)/python -m compileall -q -j 0 -x '/tests?/' $(VENV)/lib >/dev/null || true
LINTED := $(wildcard src tests scripts benchmarks examples conftest.py)

.PHONY: help pilot test torch kernel synthetic spark check lint types floors rules bench docs lock clean

help:
	@sed -n 's/^#   //p' Makefile

pilot: $(VENV)/.core
	@$(BIN)/tacit pilot $(ARGS) || { code=$$?; [ $$code = 1 ] || exit $$code; echo "no budget passes every gate of the policy (exit code 1); the report says why"; }

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 $(ARGS)

torch: $(VENV)/.dev
	$(INSTALL) 'mpmath>=1.3' '$(TORCH)'

kernel: $(VENV)/.dev
	$(PIP) install --quiet ./kernel

synthetic: $(VENV)/.dev
	$(INSTALL) 'mbi>=2.0'

# PySpark comes as a source distribution only; there is nothing to compile in it.
spark: $(VENV)/.dev
	$(INSTALL) --no-binary pyspark 'pyspark[sql]>=4.0'

check: lint types floors rules

lint: $(VENV)/.dev
	$(BIN)/ruff check $(LINTED)

types: $(VENV)/.dev
	$(BIN)/mypy

floors: $(VENV)/.dev
	$(BIN)/lint-imports --no-cache

rules: $(VENV)/.dev
	$(BIN)/python -m pytest -q tests/structure src

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks all

docs: $(VENV)/.core $(VENV)-docs/.ready
	$(BIN)/python scripts/cli_reference.py
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --quiet --strict

lock: pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)-lock
	$(VENV)-lock/bin/python -m pip --disable-pip-version-check install --quiet 'uv>=0.5'
	set -- $(VENV)-lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate; \
	"$$@" pyproject.toml --group build --output-file requirements/core.txt; \
	"$$@" pyproject.toml --group build --group dev --constraints requirements/core.txt --output-file requirements/dev.txt; \
	"$$@" --group docs --output-file requirements/docs.txt
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) $(VENV)-docs $(VENV)-lock site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .bench
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- environments: one stamp file each, renewed when the lock or the project's metadata changes
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "Expected a Python at «$(PYTHON)»; install python3, or pass PYTHON=/path/to/python3." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Expected Python 3.11, 3.12 or 3.13; got $$($(PYTHON) -V). Pass PYTHON=/path/to/another." >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Expected Python's venv with ensurepip; on Debian: apt install python3-venv." >&2; exit 2; }
	@echo "creating $(VENV) (once)" >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.core: requirements/core.txt pyproject.toml | $(BIN)/python
	@echo "installing the locked core into $(VENV) (once, about half a minute)" >&2
	@$(INSTALL) --require-hashes -r requirements/core.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(COMPILE)
	@touch $@

$(VENV)/.dev: $(VENV)/.core requirements/dev.txt
	@echo "installing the development tools into $(VENV) (once)" >&2
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@$(COMPILE)
	@touch $@

$(VENV)-docs/.ready: requirements/docs.txt | $(BIN)/python
	@echo "installing the documentation tools into $(VENV)-docs (once)" >&2
	@$(PYTHON) -m venv $(VENV)-docs
	@$(VENV)-docs/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes -r requirements/docs.txt
	@touch $@
