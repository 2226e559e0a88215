# Everything from Python 3.11 and make alone: each target sets itself up in .venv the first
# time, and again only when pyproject.toml changed.
#
#   make setup         the command `spinney`, in .venv/bin
#   make demo          a real file arrives, verified, at eight peers
#   make test          the tests (under 10 minutes on 2 cores)
#   make test-night    the long ones
#   make check         format, lint, types, architecture, dependencies, tests
#   make bench         the figures (BENCH=startup for one script)
#   make figures       all of them, written to docs/figures.md
#   make mutants       breaks guarding lines one by one; the tests must notice each
#   make test-pythons  the tests on every other supported Python that is installed

PYTHON ?= python3
VENV ?= .venv
# One more than there are processors: many tests wait for a link or a switch most of their time.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2) + 1)
BENCH ?= *
TESTS ?=
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Compiled files are kept, whatever the environment says: hundreds of tests start a program.
unexport PYTHONDONTWRITEBYTECODE

PY := $(VENV)/bin/python
RUNS := $(VENV)/stamp-run
DEVELOPS := $(VENV)/stamp-develop
PYTEST := $(PY) -m pytest -n $(JOBS) --maxprocesses 4 --dist loadgroup

.PHONY: setup demo test test-night check lint format bench figures mutants test-pythons clean
.DEFAULT_GOAL := test

$(PY):
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "No '$(PYTHON)' here. Install Python 3.11 or newer, or name one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Spinney needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name a newer one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "This Python cannot make environments: install its venv package (Debian: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUNS): pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(DEVELOPS): pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable '.[lab,test,check]'
	@touch $@ $(RUNS)

setup: $(RUNS)
	@echo 'Ready: $(abspath $(VENV))/bin/spinney. To call it by its name: export PATH="$(abspath $(VENV))/bin:$$PATH"'

demo: $(RUNS)
	@$(PY) demo/demo.py $(DEMO)

test: $(DEVELOPS)
	$(PYTEST) -m "not night" $(TESTS)

test-night: $(DEVELOPS)
	$(PYTEST) -m night --timeout 3600 $(TESTS)

lint: $(DEVELOPS)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m deptry src
	$(PY) -m pytest tests/project/test_architecture.py tests/project/test_purity.py tests/project/test_tidy.py

check: lint test

format: $(DEVELOPS)
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: $(DEVELOPS)
	@set -e; for script in bench/$(BENCH).py; do echo "== $$script"; $(PY) $$script; done

# Writes docs/figures.md; the machine must be idle.
figures: $(DEVELOPS)
	$(PY) bench/rig/figures.py

mutants: $(DEVELOPS)
	$(PY) tests/mutants/run.py $(MUTANTS)

# Every supported Python on PATH or under pyenv, but the one that `make test` uses.
test-pythons:
	@set -e; for version in 3.11 3.12 3.13 3.14; do \
	  for candidate in "$$(command -v python$$version || true)" $(HOME)/.pyenv/versions/$$version.*/bin/python3; do \
	    if [ -n "$$candidate" ] && "$$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" 2>/dev/null; then \
	      echo "== Python $$version: $$candidate"; \
	      $(MAKE) --no-print-directory test PYTHON="$$candidate" VENV=.venv-$$version; \
	      break; \
	    fi; \
	  done; \
	done

clean:
	rm -rf .venv .venv-* dist build out .pytest_cache .mypy_cache .ruff_cache .hypothesis
