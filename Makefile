# The whole set-up on a fresh machine with Python 3.11 or later: `make demo` shows the main job, `make test` passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test cluster-test check-code lint types contracts format docs bench faults lock clean

demo: $(VENV)/.runs ## one incident told line by line, then one that pages; no cluster needed
	@$(BIN)/python -m demo

test: $(VENV)/.tests ## everything this machine can run; what is missing is named
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" --cov --cov-report=
	$(BIN)/python -m pytest -m slow --cov --cov-append --cov-report=term:skip-covered

check-code: lint types contracts ## what CI checks before the tests

lint: $(VENV)/.tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.tests
	$(BIN)/mypy

contracts: $(VENV)/.tests
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.tests ## docs/metrics.md and docs/settings.md, from the code
	@$(BIN)/python -m tests.reference

bench: $(VENV)/.tests ## how fast, each figure beside its floor; ONLY=intake, QUICK=1 (a minute or two), WRITE=1 (docs/bench.*)
	$(BIN)/python -W ignore -m tests.bench $(foreach subject,$(ONLY),--only $(subject)) $(if $(QUICK),--quick) $(if $(WRITE),--write)

SEEDS ?= 500
SEED ?= 0

faults: $(VENV)/.tests ## kill -9, frozen replicas, lost databases: SEEDS=500 of them, the first is SEED=0; nothing may be lost or doubled
	$(BIN)/python -W ignore -m tests.faults --seeds $(SEEDS) --seed $(SEED) --alerts 10000

lock: ## after changing pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --no-header --no-strip-extras --python-version 3.11 --extra embedded --group dev pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --generate-hashes --no-header --no-strip-extras --python-version 3.11 --extra embedded --group build -c requirements-dev.lock pyproject.toml -o requirements.lock

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runs: requirements.lock | $(VENV)/bin/python
	@echo "installing the pinned dependencies (once, about half a minute)"
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.tests: requirements-dev.lock $(VENV)/.runs
	@echo "installing the pinned test tools (once, about half a minute)"
	$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@

clean:
	rm -rf $(VENV) .data .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
