# make demo | test | lint | docs | clean: everything else, the environment included, follows from these.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.uncv-installed
# PLUMED's kernel, headers and Python module. Its dependencies are another project's.
PLUMED := hillclimber==0.1.8

.PHONY: demo test lint docs clean install
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(BIN)/uncv demo --out demo

# Two processes, one thread each: the tests of a file stay together, in their order.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

install: $(STAMP)

NATIVE := $(wildcard uncv/models/*.cpp uncv/models/*.h)

# The stamp is newer than what it was made from, so a second call installs nothing.
$(STAMP): pyproject.toml setup.py $(NATIVE) Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "uncv needs Python 3.11 or newer; name one by make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[test]"
	$(BIN)/python -m pip install --quiet --no-deps "$(PLUMED)"
	touch $@

clean:
	rm -rf $(VENV) demo site build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
