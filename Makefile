# `make demo` and `make test` work on a fresh machine: each sets up what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-deployment mutants check types style docs format bench repertoire clean

# Compiled modules are kept, even where the environment says otherwise: many processes import the same ones.
export PYTHONDONTWRITEBYTECODE :=

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(STAMP) ## create a virtual environment with everything installed (about 5 GB, mostly torch)

demo: $(STAMP) ## train a style model with five simulated labels; ends with a signed release
	$(BIN)/sottovoce synthesise $(DEMO)/catalogues --labels 5 --tracks 120
	$(BIN)/sottovoce simulate --catalogues $(DEMO)/catalogues --out $(DEMO)/run

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(STAMP) ## build the documentation in site/; a broken link or reference fails
	$(BIN)/mkdocs build  # not --quiet: that also silences what strict mode counts

check: $(STAMP) ## check documentation, format, lint and types
	$(MAKE) --no-print-directory --jobs 2 types docs style  # one core for types, one for everything else

types: $(STAMP)
	$(BIN)/mypy

style: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# Several workers, and each with as many threads as there are cores, wait for one another most of the time.
test test-deployment: export OMP_NUM_THREADS := 1
test: check ## check, then run all tests except test-deployment
	$(BIN)/pytest -n 2 --dist worksteal -m "not deployment"  # a file stays with one worker until the other has nothing left

test-deployment: $(STAMP) ## run federations of real processes, killed and restarted (minutes)
	$(BIN)/pytest -m deployment

mutants: export OMP_NUM_THREADS := 1
mutants: $(STAMP) ## mutation tests of the core: MINUTES=30, ONLY=protocol; resumes where it stopped
	$(BIN)/python tests/mutants/run.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ONLY),--only $(ONLY))

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

repertoire: $(STAMP) ## install what renders real scores, for the benchmark on real music
	$(BIN)/pip install --quiet --editable '.[dev,repertoire]'
	$(BIN)/pip install --quiet --no-deps tinysoundfont

bench: repertoire ## run every measurement in docs/benchmarks.md
	$(BIN)/python -m benchmarks

clean: ## remove results of demo, and caches
	rm -rf $(DEMO) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
