# Two commands matter: `make demo` and `make test`. Both work on a fresh Debian machine with python3 >= 3.11.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Warm caches and oversubscribed cores only add noise; two workers with one thread each suit two cores.
TEST_ENV := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 RAY_USAGE_STATS_ENABLED=0 RERUN_ANALYTICS=0
TEST_WORKERS ?= 2

.PHONY: help install demo test test-slow test-browser lint format types docs clean

help:
	@echo "make demo      install into $(VENV) and reconstruct a clip made by the built-in generator"
	@echo "make test      install with the test tools and run the fast tests (CPU, no network needed)"
	@echo "make test-slow the tests marked slow        make lint    ruff + pyright"
	@echo "make install   only install                 make docs    build the documentation site"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "openmore needs python3 >= 3.11; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "python3 cannot make virtual environments; on Debian: apt-get install python3-venv"; exit 1; }

$(STAMP): pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all,dev]"
	@touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/python examples/01_demo.py

test: $(STAMP)
	$(TEST_ENV) $(BIN)/python -m pytest -n $(TEST_WORKERS) -m "not slow and not gpu and not browser" $(ARGS)

test-slow: $(STAMP)
	$(TEST_ENV) $(BIN)/python -m pytest -m "slow" $(ARGS)

test-browser: $(STAMP)  # needs a Chromium: apt-get install chromium
	$(TEST_ENV) $(BIN)/python -m pytest -m browser $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

types: $(STAMP)
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	$(BIN)/zensical build

clean:
	rm -rf $(VENV) build dist site .pytest_cache .ruff_cache
