# Everything a newcomer needs: `make demo` and `make test`. Both make their own virtual environment first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NETWORK := demo/network
NIGHT := 2026-01-15

.PHONY: help demo test check clean clean-kernels

help:
	@echo "make demo    a sample network, one night, the rehearsal and the report, under demo/"
	@echo "make test    format, lint, types, import rules and all tests"
	@echo "make clean   remove the virtual environment and the demo"

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "fillplan needs Python 3.11 or newer; say make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e . -c constraints.txt
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch $@

demo: $(VENV)/installed
	@rm -rf demo
	$(BIN)/fillplan new $(NETWORK) --seed 1
	$(BIN)/fillplan nightly $(NETWORK) --for $(NIGHT)
	$(BIN)/fillplan report $(NETWORK) -o demo/report.html

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/python -m pytest -n 2 --dist worksteal

clean:
	rm -rf $(VENV) demo

clean-kernels:
	find benchmarks cdn demand sim topology tests -name '*.nb[ci]' -delete
