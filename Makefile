# `make demo` and `make test` work on a fresh machine: each sets up what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-deployment mutants check docs format bench repertoire clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(STAMP) ## a virtual environment with everything installed (about 5 GB, mostly torch)

demo: $(STAMP) ## five labels train a style model together; ends with a signed release to classify with
	$(BIN)/sottovoce synthesise $(DEMO)/catalogues --labels 5 --tracks 120
	$(BIN)/sottovoce simulate --catalogues $(DEMO)/catalogues --out $(DEMO)/run

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(STAMP) ## the documentation as a site in site/; a broken link or reference fails
	$(BIN)/mkdocs build  # not --quiet: that also silences what strict mode counts

check: docs ## the documentation, format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Several workers, and each with as many threads as there are cores, wait for one another most of the time.
test test-deployment: export OMP_NUM_THREADS := 1
test: check ## check, then all tests but those of test-deployment
	$(BIN)/pytest -n 2 --dist worksteal -m "not deployment"  # a file stays with one worker until the other has nothing left

test-deployment: $(STAMP) ## whole federations of real processes, killed and restarted (minutes)
	$(BIN)/pytest -m deployment

mutants: export OMP_NUM_THREADS := 1
mutants: $(STAMP) ## plant small faults in the core and see that a test fails: MINUTES=30, ONLY=protocol; goes on where it stopped
	$(BIN)/python tests/mutants/run.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ONLY),--only $(ONLY))

format: $(STAMP) ## rewrite the code in the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

repertoire: $(STAMP) ## what renders real scores, for the benchmark on real music
	$(BIN)/pip install --quiet --editable '.[dev,repertoire]'
	$(BIN)/pip install --quiet --no-deps tinysoundfont

bench: repertoire ## every measurement in docs/benchmarks.md
	$(BIN)/python -m benchmarks

clean: ## remove what demo and the caches left
	rm -rf $(DEMO) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
