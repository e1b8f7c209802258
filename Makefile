# Everything a fresh machine with Python 3.11 needs. VENV and PYTHON may be overridden.
VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: quickstart test torture lint docs
quickstart: $(VENV)/.installed
	$(VENV)/bin/kpig quickstart

test: $(VENV)/.installed-test
	$(VENV)/bin/python -m pytest -n auto --dist worksteal --durations=40

# Kills, full disks, damage, senseless commands and fuzzed inputs; docs/reliability.md.
torture: $(VENV)/.installed-test
	KPIG_TORTURE=1000 $(VENV)/bin/python -m pytest -n auto --hypothesis-profile=torture tests/torture tests/test_fuzz_*.py

lint: $(VENV)/.installed-lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

# The docs site, in build/docs; warnings are errors. Open build/docs/index.html.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(VENV)/.installed-lint: $(VENV)/.installed-test
	$(PIP) -e '.[dev]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e '.[test]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -e '.[docs]'
	touch $@
