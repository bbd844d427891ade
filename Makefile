# The front door. `make help` lists what there is; every target installs what it needs.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
OUT    ?= .
ARGS   ?=

.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

install: $(STAMP) ## Install the locked dependencies and the gateway itself into .venv

$(STAMP): pyproject.toml requirements/dev.lock requirements/build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "swr-gateway needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		-r requirements/build.lock -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q $(VENV)/lib
	@touch $@

demo: install ## List repositories through the gateway, in front of the embedded upstream
	@$(BIN)/swr-gateway demo $(ARGS)

run: install ## Keep the gateway running in front of the embedded upstream, to try calls on
	@$(BIN)/swr-gateway demo --keep $(ARGS)

test: install ## Run the tests; the pure core must be covered line by line and branch by branch
	@$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --cov --cov-report=term-missing:skip-covered $(ARGS)
	@$(if $(ARGS),,$(BIN)/coverage report --include='gateway/core/*' --fail-under=100 --format=total >/dev/null \
		|| { echo 'error: the pure core is not covered in full'; exit 1; })

lint: install ## Check style, spelling, the proto files and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --diff .
	@$(BIN)/codespell
	@$(BIN)/buf lint protos
	@$(BIN)/buf format --diff --exit-code protos
	@$(BIN)/lint-imports --no-logo

types: install ## Check types, strictly
	@$(BIN)/mypy

format: install ## Format Python and proto files
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .
	@$(BIN)/buf format --write protos

protos: install ## Generate gateway/swr/v1 from protos/
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc --proto_path=protos \
		--python_out=$(OUT) --grpc_python_out=$(OUT) \
		--mypy_out=quiet:$(OUT) --mypy_grpc_out=quiet,only_async:$(OUT) \
		gateway/swr/v1/repos.proto

check-protos: install ## Prove that the committed generated code is fresh
	@$(BIN)/python -m pytest -q tests/test_protos.py

bench: install ## Measure conversion, calls, workers, sharing, streams, overload and start-up, beside what they are compared to
	@for part in conversion signing call observing workers sharing stream overload startup; do $(BIN)/python -m benchmarks.$$part || exit 1; done

lock: ## Resolve requirements/*.lock anew (needs uv)
	@uv pip compile $(LOCK) --all-extras pyproject.toml -o requirements/runtime.lock
	@uv pip compile $(LOCK) --all-extras --group dev pyproject.toml -o requirements/dev.lock
	@uv pip compile $(LOCK) --group deploy -o requirements/deploy.lock
	@uv pip compile $(LOCK) requirements/build.in -o requirements/build.lock

LOCK = --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

deploy-check: install .venv-deploy/.installed .tools/bin/.installed ## Read all that is shipped by what will read it (needs Go)
	@.venv-deploy/bin/python -m deploy.check

.venv-deploy/.installed: requirements/deploy.lock
	$(PYTHON) -m venv .venv-deploy
	.venv-deploy/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $<
	@touch $@

# kustomize, kubeconform and the types that manifests are read into, at the versions and hashes of go.mod and go.sum.
.tools/bin/.installed: deploy/check/types/go.mod deploy/check/types/go.sum deploy/check/types/main.go
	@command -v go >/dev/null || { echo 'error: make deploy-check needs Go, at the version of $<'; exit 1; }
	@mkdir -p $(@D)
	cd deploy/check/types && GOBIN='$(abspath $(@D))' GOFLAGS=-mod=readonly go install tool .
	@touch $@

clean: ## Remove what was installed or made
	rm -rf $(VENV) .venv-deploy .tools .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage dist

.PHONY: help install demo run test lint types format protos check-protos bench lock deploy-check clean
