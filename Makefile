# Every task of the project. `make help` lists them; CONTRIBUTING.md tells when to use which.
#
# Works with GNU make 3.81 and newer and a POSIX shell. All set-up is done by tools/set_up.py and remembered in stamp files, so that a
# second `make run` starts at once.

# The first of these that is Python 3.11 or newer makes the environment.
PYTHON ?= python3 python3.13 python3.12 python3.11 python3.14
ARGS ?=

# Most of what tests do is wait: for processes, disks, timers. Files are not divided, because their tests share servers; the longest come first. More
# processes need a PostgreSQL and some hundred MiB each. A test that runs out of time ends its process, and with it the run, which names it: with
# another process in its place the run would wait for ever. PARALLEL= runs them one after the other.
PARALLEL ?= -n auto --maxprocesses 4 --max-worker-restart=0 --dist loadfile --no-loadscope-reorder

VENV := .venv
PY := $(VENV)/bin/python
BUF := $(VENV)/bin/buf

RUNTIME_STAMP := $(VENV)/.set-up-runtime
DEV_STAMP := $(VENV)/.set-up-dev
BENCH_STAMP := .venv-bench/.set-up
# npm writes this file last.
NODE_STAMP := tests/node/node_modules/.package-lock.json

PACKAGES := pyproject.toml clients/python/pyproject.toml
IMAGE := proto/durachart-v1.binpb

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# The tasks share one environment; only what they start may run in parallel.
.NOTPARALLEL:
.PHONY: help run test check coverage lint types contracts proto verify generate proto-image format lock hooks clean set-up bench fuzz soak again

help: ## List every task.
	@echo "Usage: make TASK [ARGS=\"...\"]"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

run: $(RUNTIME_STAMP) ## Start the server on its embedded default. ARGS="--listen 127.0.0.1:9000" passes options on.
	@exec $(PY) tools/foreground.py $(VENV)/bin/durachart serve $(ARGS)

test: $(DEV_STAMP) $(NODE_STAMP) ## Set up and pass every test. ARGS="-k order" passes options to pytest.
	@$(PY) -m pytest $(PARALLEL) $(ARGS)

check: lint types contracts proto verify coverage test ## What CI runs: format, lint, types, import contracts, proto, generated code, tests.

coverage: $(DEV_STAMP) $(NODE_STAMP) ## Hold the engine at 100 % of its branches, by its own tests.
	@echo "==> coverage of the engine"
	@$(PY) -m pytest -q $(PARALLEL) tests/unit/engine tests/conformance \
		--cov=durachart.engine --cov-fail-under=100

lint: $(DEV_STAMP) ## Check format and lint.
	@echo "==> format and lint"
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .

types: $(DEV_STAMP) ## Check types (mypy, strict).
	@echo "==> types"
	@$(PY) -m mypy

contracts: $(DEV_STAMP) ## Check that packages import only what ARCHITECTURE.md allows.
	@echo "==> import contracts"
	@$(VENV)/bin/lint-imports --no-cache

proto: $(DEV_STAMP) ## Lint the contract and compare it with the committed image.
	@echo "==> proto"
	@$(BUF) format proto --diff --exit-code
	@$(BUF) lint
	@$(BUF) breaking proto --against $(IMAGE)

verify: $(DEV_STAMP) $(NODE_STAMP) ## Prove that generated files are fresh.
	@echo "==> generated files"
	@$(PY) tools/generate.py --check
	@$(PY) tools/proto_image.py --check
	@$(PY) tools/acceptance.py --check

generate: $(DEV_STAMP) $(NODE_STAMP) ## Generate the stubs from proto/ and the last column of docs/acceptance.md.
	@$(PY) tools/generate.py
	@$(PY) tools/acceptance.py

proto-image: $(DEV_STAMP) ## Accept proto/ as what later changes must not break. ARGS=--allow-breaking overrides.
	@$(PY) tools/proto_image.py $(ARGS)

format: $(DEV_STAMP) ## Format Python and proto files, and fix what lint can fix.
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .
	@$(BUF) format proto --write

# The locks name packages, versions and hashes, never an address: the machine's own settings say where packages come from.
COMPILE := UV_CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/bin/uv pip compile pyproject.toml --quiet --universal \
	--python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-emit-package durachart --no-emit-package durachart-client --extra openai --extra anthropic --extra nats

lock: $(DEV_STAMP) ## Resolve the dependencies anew. ARGS=--upgrade takes newer versions.
	@$(COMPILE) --group build --output-file requirements/runtime.txt $(ARGS)
	@$(COMPILE) --group dev --constraint requirements/runtime.txt --output-file requirements/dev.txt $(ARGS)
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/bin/uv pip compile --group pyproject.toml:bench --quiet --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --output-file requirements/bench.txt $(ARGS)
	@cd tests/node && npm install --package-lock-only --loglevel=error

bench: $(DEV_STAMP) $(NODE_STAMP) $(BENCH_STAMP) ## Measure, as ratios in one run. ARGS="engine" measures one, ARGS=--list names them.
	@$(PY) -m bench $(ARGS)

fuzz: $(DEV_STAMP) $(NODE_STAMP) ## Search for differences from XState for a minute. ARGS="--seconds 600 --seed 7" changes that.
	@$(PY) -m tests.conformance.fuzz $(ARGS)

soak: $(DEV_STAMP) ## Kill a server under load 500 times and check what it promised. ARGS="--cycles 60 --seed 7" changes that.
	@$(PY) -m tests.acceptance.faults.soak $(ARGS)

hooks: $(DEV_STAMP) ## Install the git hooks that format and lint each commit.
	@$(PY) -m pre_commit install

clean: ## Remove the environment and caches. Never touches data/.
	rm -rf $(VENV) .venv-bench tests/node/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov

set-up: $(DEV_STAMP) $(NODE_STAMP) ## Set up everything that development needs, and start nothing.

# An environment's scripts name its own place: after a move or a copy of the checkout, or when its Python is gone, it is made again.
ifneq ($(wildcard $(VENV)),)
ifneq ($(shell test -x $(PY) && cat $(VENV)/.checkout 2>/dev/null),$(CURDIR))
$(RUNTIME_STAMP) $(DEV_STAMP): again
endif
endif

# Runs tools/set_up.py with a Python that is new enough.
define SET_UP
@for python in $(PYTHON); do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then exec "$$python" tools/set_up.py $(1); fi; \
done; \
echo "Durachart needs Python 3.11 or newer, and none of these is: $(PYTHON). Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
exit 1
endef

$(RUNTIME_STAMP): requirements/runtime.txt $(PACKAGES)
	$(call SET_UP,runtime)

$(DEV_STAMP): requirements/dev.txt $(PACKAGES)
	$(call SET_UP,dev)

$(BENCH_STAMP): requirements/bench.txt $(DEV_STAMP)
	@echo "Installing the libraries that the interpreter is measured against" >&2
	@$(PY) -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --no-deps --requirement requirements/bench.txt
	@touch $@

$(NODE_STAMP): tests/node/package.json tests/node/package-lock.json tests/node/.npmrc
	$(call SET_UP,node)
