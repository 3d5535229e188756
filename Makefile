# make demo   the main job on the packaged server      make test   the tests
# make check  lint, types, layers, links               make bench  the comparisons
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ROWS ?= 20000000
export PYTHONWARNINGS ?= ignore:XDG_RUNTIME_DIR is not set

.PHONY: demo test check format bench clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[embedded,demo,dev]'
	touch $@

demo: $(STAMP)
	$(BIN)/pgfan demo --rows $(ROWS)

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/tidy/links.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
	$(BIN)/pgfan bench example

clean:
	rm -rf $(VENV) .demo .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
