# `make demo` and `make test` work on a fresh machine: each sets up what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-deployment mutants simulate-faults fuzz soak check types style suite docs format bench repertoire locks wheel advisories clean

# Compiled modules are kept, even where the environment says otherwise: many processes import the same ones.
export PYTHONDONTWRITEBYTECODE :=

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(STAMP) ## create a virtual environment with everything installed (about 7 GB, mostly torch)

demo: $(STAMP) ## train a style model with five simulated labels; ends with a signed release
	$(BIN)/sottovoce synthesise $(DEMO)/catalogues --labels 5 --tracks 120
	$(BIN)/sottovoce simulate --catalogues $(DEMO)/catalogues --out $(DEMO)/run

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(STAMP) ## build the documentation in site/; a broken link or reference fails
	$(BIN)/mkdocs build  # not --quiet: that also silences what strict mode counts

# Types take one core about as long as all else takes another.
check: $(STAMP) ## check documentation, format, lint and types
	$(MAKE) --no-print-directory --output-sync --jobs 2 types docs style

types: $(STAMP)
	$(BIN)/mypy

style: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# Several workers, and each with as many threads as there are cores, wait for one another most of the time.
test suite test-deployment: export OMP_NUM_THREADS := 1
# Gradients of many units are tens of megabytes, which glibc would return to the system, and fault in again, each time.
test suite test-deployment: export MALLOC_MMAP_THRESHOLD_ := 268435456
test suite test-deployment: export MALLOC_TRIM_THRESHOLD_ := 536870912
test suite test-deployment: export MALLOC_TOP_PAD_ := 67108864
test: $(STAMP) ## check, and run all tests except test-deployment
	$(MAKE) --no-print-directory --jobs 2 types suite

# Tests of the studio's pages need a browser, and say so if there is none. It is installed where that needs no question.
$(VENV)/.browser: $(STAMP)
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
		DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet chromium >/dev/null 2>&1; } || true
	@touch $@

# Beside the types, which are checked while tests wait. Five workers, forks of one process, keep two cores busy: many
# tests wait for processes.
suite: export BUILT_SITE := $(CURDIR)/site
suite: docs style $(VENV)/.browser
	$(BIN)/pytest -n 5 --dist worksteal -m "not deployment"

test-deployment: $(STAMP) ## run federations of real processes, killed and restarted (minutes)
	$(BIN)/pytest -m deployment

mutants: export OMP_NUM_THREADS := 1
mutants: $(STAMP) ## mutation tests of the core: MINUTES=30, ONLY=protocol; resumes where it stopped
	$(BIN)/python tests/mutants/run.py $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ONLY),--only $(ONLY))

simulate-faults: export OMP_NUM_THREADS := 1
simulate-faults: $(STAMP) ## seeded histories of a whole federation under faults: SCHEDULES=1000, SEED=1; of one label: LABEL=1
	$(BIN)/python -m tests.simulation $(if $(LABEL),--label )$(if $(SCHEDULES),--schedules $(SCHEDULES)) $(if $(SEED),--seed $(SEED))

fuzz: export OMP_NUM_THREADS := 1
fuzz: $(STAMP) ## fuzz the readers of untrusted bytes: MINUTES=10, ONLY="message manifest"; inputs that reach new code are kept
	$(BIN)/python -m tests.fuzz $(ONLY) $(if $(MINUTES),--minutes $(MINUTES))

soak: export OMP_NUM_THREADS := 1
soak: $(STAMP) ## a federation of processes under random faults: FAULTS=1000, MINUTES=600, SEED=1 (Linux, hours)
	$(BIN)/python -m tests.soak $(if $(FAULTS),--faults $(FAULTS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

repertoire: $(STAMP) ## install what renders real scores, for the benchmark on real music
	$(BIN)/pip install --quiet --editable '.[dev,repertoire]'
	$(BIN)/pip install --quiet --no-deps tinysoundfont

bench: repertoire ## run every measurement in docs/benchmarks.md
	$(BIN)/python -m benchmarks

# Tools for what is built and locked have an environment of their own: they are no part of what they describe.
TOOLS := .venv-tools/bin
.venv-tools/.installed:
	$(PYTHON) -m venv .venv-tools
	$(TOOLS)/pip install --quiet 'hatchling>=1.27' 'uv>=0.9' 'cyclonedx-bom>=7' 'pip-audit>=2.9'
	@touch $@

# For one platform: a lock for all of them names versions that some have no wheel of.
LOCK = $(TOOLS)/uv pip compile --quiet --python-platform x86_64-unknown-linux-gnu --python-version 3.11 \
	--generate-hashes --upgrade --custom-compile-command 'make locks' pyproject.toml
locks: .venv-tools/.installed ## lock each role's dependencies anew, with hashes
	$(LOCK) -o supply_chain/locks/label.txt
	$(LOCK) --extra postgres -o supply_chain/locks/coordinator.txt
	$(LOCK) --extra audit --extra repertoire -o supply_chain/locks/researcher.txt
	$(LOCK) --extra dev -o supply_chain/locks/developer.txt

wheel: .venv-tools/.installed ## build the wheel in dist/, and beside it what it is used with (CycloneDX), for each role
	$(TOOLS)/hatchling build --target wheel
	for role in label coordinator researcher; do $(TOOLS)/cyclonedx-py requirements --output-reproducible \
		--pyproject pyproject.toml -o dist/sottovoce-$$role.cdx.json supply_chain/locks/$$role.txt; done

advisories: .venv-tools/.installed ## look up locked dependencies among published advisories
	$(TOOLS)/python supply_chain/advisories.py

clean: ## remove results of demo, and caches
	rm -rf $(DEMO) site .mypy_cache .ruff_cache .pytest_cache .hypothesis
