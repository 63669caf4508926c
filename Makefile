# Everything sets itself up: the first target that needs the virtual environment makes it.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DECK ?=
SEEDS ?= 5
FIRST_SEED ?= 1
MINUTES ?= 35
RATE ?= 200
REPORT ?=

.PHONY: help demo up test chaos soak bench check format schema-dump pictures settings simulation screenshots clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml requirements-dev.lock requirements-build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3 …"; exit 1; }
	@echo "setting up $(VENV), once: about half a minute, longer while packages are fetched"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP) ## the whole system from nothing, one deck through it (DECK=file.pdf for yours)
	@$(BIN)/reveille demo $(if $(DECK),"$(DECK)")

up: $(STAMP) ## keep the system running on this machine until Ctrl-C
	@$(BIN)/reveille up

test: $(STAMP) ## all tests but the slow ones (TESTS="-m slow"): no Docker, no GPU, no network needed
	@$(BIN)/python -m pytest -n auto --dist worksteal $(TESTS)

chaos: $(STAMP) ## kill, freeze and cut off everything under load, then count (SEEDS=20 FIRST_SEED=1 REPORT=page.md)
	@$(BIN)/python -m tests.chaos --seeds $(SEEDS) --first-seed $(FIRST_SEED) $(if $(REPORT),--report "$(REPORT)")

soak: $(STAMP) ## hundreds of tasks a second beside an old snapshot; what must be flat? (MINUTES=35 RATE=200 REPORT=page.md)
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) --rate $(RATE) $(if $(REPORT),--report "$(REPORT)")

bench: $(STAMP) ## measure us, hand-written SQL and other queues (SHORT=1; ONLY="drain-1 claim"); writes docs/benchmarks
	@$(BIN)/python -m tests.bench $(if $(SHORT),--short,$(if $(ONLY),,--out)) $(if $(ONLY),--only $(ONLY))

check: $(STAMP) ## format, lint, types, import rules, locked dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(BIN)/python -m tests.locks

format: $(STAMP) ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema-dump: $(STAMP) ## write db/schema.sql from the migrations
	$(BIN)/python -m reveille.schema_dump > db/schema.sql.new && mv db/schema.sql.new db/schema.sql

pictures: $(STAMP) ## the trace in docs/tracing.md, from a run that is slow on purpose
	@$(BIN)/python -m docs.trace_pictures

settings: $(STAMP) ## write docs/settings.md from the settings' own words
	@$(BIN)/python -m docs.settings_page

simulation: $(STAMP) ## the tables in docs/simulation.md, played anew (a quarter of an hour)
	@$(BIN)/python -m docs.simulation_table

screenshots: $(STAMP) ## the pictures of the board in the README (needs chromium)
	@$(BIN)/python -m docs.screenshots

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .reveille
