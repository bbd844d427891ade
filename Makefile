# The front door. `make help` lists what there is; every target installs what it needs.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= .
ARGS   ?=

# A lock names every package with its version and hashes, so nothing is resolved here: no release of anybody's can change
# what is installed, whatever the age of pip. `pip check` behind it finds what a lock lacks.
INSTALL := -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-deps --require-hashes
COMPLETE = problems=$$($(BIN)/python -m pip check --disable-pip-version-check) || { echo "$$problems"; exit 1; }

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

install: $(VENV)/.developers ## Install the locked dependencies and the gateway itself into .venv

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "swr-gateway needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)

# What the gateway needs, and no more: all of a demo.
$(VENV)/.gateway: pyproject.toml clients/python/pyproject.toml requirements/runtime.lock requirements/build.lock | $(BIN)/python
	@echo 'Installing the gateway into $(VENV): once, in about 20 seconds ...'
	@$(BIN)/python $(INSTALL) -r requirements/build.lock -r requirements/runtime.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--editable clients/python --editable .
	@$(COMPLETE)
	@touch $@

$(VENV)/.developers: requirements/dev.lock $(VENV)/.gateway
	@echo 'Installing what tests and checks need into $(VENV): once, in about 30 seconds ...'
	@$(BIN)/python $(INSTALL) -r requirements/dev.lock
	@$(COMPLETE)
	@touch $@

demo: $(VENV)/.gateway ## List repositories through the gateway, in front of the embedded upstream
	@$(BIN)/swr-gateway demo $(ARGS)

run: $(VENV)/.gateway ## Keep the gateway running in front of the embedded upstream, to try calls on
	@$(BIN)/swr-gateway demo --keep $(ARGS)

# Tests wait now and then, so there is one more process of them than cores; beyond four they get in each other's way.
PYTEST = $(BIN)/python -m pytest --numprocesses=$$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses=4

test: install ## Run the tests, some 4 minutes on two cores
	@$(PYTEST) $(ARGS)

coverage: install ## Run them with coverage, which takes twice as long and has floors: 100 % of the pure core, 97 % of the gateway and of the client
	@$(PYTEST) --cov --cov-report=term-missing:skip-covered $(ARGS)
	@$(if $(ARGS),,$(call covered,gateway/core/*,100,the pure core))
	@$(if $(ARGS),,$(call covered,gateway/*,97,the gateway))
	@$(if $(ARGS),,$(call covered,*/swr_gateway_client/*,97,the client))

covered = $(BIN)/coverage report --include='$1' --fail-under=$2 --format=total >/dev/null \
	|| { echo 'error: less than $2 % of the lines and branches of $3 are covered by tests'; exit 1; }

test-quick: install ## Run the tests that start neither a gateway nor a command, in half a minute
	@$(PYTEST) -q $(ARGS) \
		$$(grep -LE '^from (benchmarks\.chaos|clients\.interop|conftest|commands|envoy|gateway\.server\.gateway|gateway\.workers)' tests/test_*.py clients/python/tests/test_*.py)

test-shaken: install ## Run the tests on event loops that take what is ready in any order, and stand still now and then
	@$(PYTEST) -p tests.shaken $(ARGS)

mutants: $(VENV)/.mutants ## Break the code in small ways and tell what no test notices: all, or ARGS=gateway/core/breaker.py
	@$(BIN)/python -m mutation $(ARGS)

$(VENV)/.mutants: requirements/mutants.lock $(VENV)/.developers
	@$(BIN)/python $(INSTALL) -r $<
	@$(COMPLETE)
	@touch $@

lint: install ## Check style, spelling, the proto files and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --diff .
	@$(BIN)/codespell
	@$(BIN)/buf lint protos
	@$(BIN)/buf format --diff --exit-code protos
	@BUF=$(BIN)/buf protos/breaking.sh
	@$(BIN)/lint-imports --no-logo

types: install ## Check types, strictly
	@$(BIN)/mypy

format: install ## Format Python and proto files
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .
	@$(BIN)/buf format --write protos

protos: install ## Generate gateway/swr/v1 from protos/, from that what the client has of it, and what drivers of clients are told
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc --proto_path=protos \
		--python_out=$(OUT) --grpc_python_out=$(OUT) \
		--mypy_out=quiet:$(OUT) --mypy_grpc_out=quiet,only_async:$(OUT) \
		gateway/swr/v1/repos.proto
	@mkdir -p $(OUT)/$(CLIENT_PROTOS)
	@cp $(OUT)/gateway/swr/v1/repos_pb2.pyi $(OUT)/$(CLIENT_PROTOS)
	@$(BIN)/python -c '$(DESCRIPTOR)' $(OUT)/gateway/swr/v1/repos_pb2.py >$(OUT)/$(CLIENT_PROTOS)/repos.binpb
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc --proto_path=. --proto_path=protos \
		--python_out=$(OUT) --mypy_out=quiet:$(OUT) clients/interop/interop.proto

# The bytes that the generated code registers: those of protoc's own --descriptor_set_out have JSON names as well, and one
# process would refuse them as another file of the same name.
DESCRIPTOR := import runpy, sys; sys.stdout.buffer.write(runpy.run_path(sys.argv[1])["DESCRIPTOR"].serialized_pb)
CLIENT_PROTOS := clients/python/swr_gateway_client/v1

docs: install ## Write what of docs/ is made of the code: the pages of settings and errors, the picture of a terminal
	@$(BIN)/python -m docs.generate

check-protos: install ## Prove that the committed generated code is fresh
	@$(BIN)/python -m pytest -q tests/test_protos.py

bench: install ## Measure conversion, calls, workers, sharing, streams, overload and start-up, beside what they are compared to
	@for part in conversion signing call observing workers sharing stream overload startup; do $(BIN)/python -m benchmarks.$$part || exit 1; done

chaos: install $(if $(shell command -v go),.tools/bin/gosvc) ## Play what goes wrong in the world and count the harm, in under 10 minutes (ARGS='late forgotten' BASE=main SOAK=600)
	@$(BIN)/python -m benchmarks.chaos $(if $(BASE),--base $(BASE)) $(ARGS)

# Names of clients, languages, or beginnings of cases: ARGS='grpc-go resume'.
interop: install ## Play cases with the clients in Go, TypeScript and Python on a real gateway (ARGS='grpc-go resume' INTEROP_REQUIRE=go)
	@$(BIN)/python -m clients.interop $(or $(ARGS),Go TypeScript Python)

interop-all: install ## The same with every client; writes docs/interop.md
	@$(BIN)/python -m clients.interop $(or $(ARGS),--write)

# Stubs in the folder of a Go module, by the generators that its go.mod names.
GO_STUBS = export GOBIN='$(abspath .tools/bin)' GOFLAGS=-mod=readonly && go install tool \
	&& PATH="$$GOBIN:$$PATH" $(abspath $(BIN))/python -m grpc_tools.protoc --proto_path=$(abspath protos) \
		--go_out=. --go_opt=module=swr-gateway.dev/gen --go-grpc_out=. --go-grpc_opt=module=swr-gateway.dev/gen \
		gateway/swr/v1/repos.proto

# What is compared with, in Go: gateways by hand (gohand, gosonic; gosvc for `make chaos`), their load and their upstream.
PEERS := benchmarks/go
PEER_SOURCES := $(wildcard $(PEERS)/go.* $(PEERS)/*/*.go $(PEERS)/cmd/*/*.go) protos/gateway/swr/v1/repos.proto

.tools/bin/gohand: $(PEER_SOURCES) | $(VENV)/.developers
	@command -v go >/dev/null || { echo 'error: it needs Go, at the version of $(PEERS)/go.mod'; exit 1; }
	@mkdir -p $(@D) && cd $(PEERS) && $(GO_STUBS) && go install ./cmd/...
	@touch $@

# Where it cannot be built, its column stays empty.
.tools/bin/gosvc: $(PEER_SOURCES) | $(VENV)/.developers
	-@mkdir -p $(@D) && cd $(PEERS) && $(GO_STUBS) && go install ./cmd/gosvc
	-@touch -c $@

bench-peers: $(VENV)/.bench .tools/bin/gohand ## Compare throughput, CPU, latency and memory with gateways by hand and with Envoy; writes docs/performance.md (ROUNDS=5 SECONDS=1.5 BASE=main)
	@$(BIN)/python -m benchmarks.peers $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(BASE),--base $(BASE))

profile: $(VENV)/.bench .tools/bin/gohand ## Show where a loaded gateway spends its time: shares by package, and flame graphs in .tools/
	@$(BIN)/python -m benchmarks.peers.profile

$(VENV)/.bench: requirements/bench.lock $(VENV)/.developers
	@$(BIN)/python $(INSTALL) -r $<
	@$(COMPLETE)
	@touch $@

WEB := clients/web

demo-web: install $(WEB)/dist/main.js ## List repositories in a browser: a page, Envoy and a gateway in front of the embedded upstream (needs Node)
	@$(BIN)/python -m clients.web.demo

test-web: $(VENV)/.web $(WEB)/dist/main.js ## Use that page in headless Chromium as a person does (needs Node and Chromium)
	@$(BIN)/python -m pytest $(WEB)/tests $(ARGS)

$(VENV)/.web: requirements/web.lock $(VENV)/.developers
	@$(BIN)/python $(INSTALL) -r $<
	@$(COMPLETE)
	@touch $@

$(WEB)/dist/main.js: $(WEB)/node_modules/.package-lock.json $(wildcard $(WEB)/src/*.ts $(WEB)/static/*) $(WEB)/buf.gen.yaml $(WEB)/tsconfig.json protos/gateway/swr/v1/repos.proto
	@cd $(WEB) && npm run --silent build

$(WEB)/node_modules/.package-lock.json: $(WEB)/package.json $(WEB)/package-lock.json $(WEB)/.npmrc
	@command -v npm >/dev/null || { echo 'error: it needs Node 20 or newer, and npm'; exit 1; }
	@cd $(WEB) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

lock: .venv-lock/.installed ## Resolve requirements/*.lock anew and prove that they install (ARGS=--upgrade for newer versions)
	@$(RESOLVE) --all-extras pyproject.toml -o requirements/runtime.lock
	@$(RESOLVE) --all-extras --group dev pyproject.toml -o requirements/dev.lock
	@$(RESOLVE) --all-extras --resolution lowest-direct pyproject.toml -o requirements/lowest.lock
	@$(RESOLVE) --constraint requirements/runtime.lock clients/python/pyproject.toml -o requirements/client.lock
	@$(RESOLVE) --resolution lowest-direct --group clients/python/pyproject.toml:tests clients/python/pyproject.toml \
		-o requirements/client-lowest.lock
	@$(RESOLVE) --group deploy -o requirements/deploy.lock
	@$(RESOLVE) --group mutants --constraint requirements/dev.lock -o requirements/mutants.lock
	@$(RESOLVE) --group bench --constraint requirements/dev.lock -o requirements/bench.lock
	@$(RESOLVE) --group web --constraint requirements/dev.lock -o requirements/web.lock
	@$(RESOLVE) --group locking -o requirements/locking.lock
	@$(RESOLVE) requirements/build.in -o requirements/build.lock
	@requirements/prove.sh

# Extras are kept: a pip that meets `coverage[toml]` behind a pinned `coverage` asks for its newest release.
RESOLVE = .venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	--no-header --no-annotate --no-emit-package swr-gateway-client $(ARGS)

.venv-lock/.installed: requirements/locking.lock
	@$(PYTHON) -m venv .venv-lock
	@.venv-lock/bin/python $(INSTALL) -r $<
	@touch $@

deploy-check: install .venv-deploy/.installed .tools/bin/.installed ## Read all that is shipped by what will read it (needs Go)
	@.venv-deploy/bin/python -m deploy.check

.venv-deploy/.installed: requirements/deploy.lock
	@$(PYTHON) -m venv .venv-deploy
	@.venv-deploy/bin/python $(INSTALL) -r $<
	@touch $@

# kustomize, kubeconform, the types that manifests are read into and what renders the chart, at the versions and hashes of
# go.mod and go.sum.
.tools/bin/.installed: $(wildcard deploy/check/types/* deploy/check/chart/*)
	@command -v go >/dev/null || { echo 'error: make deploy-check needs Go, at the version of deploy/check/types/go.mod'; exit 1; }
	@mkdir -p $(@D)
	cd deploy/check/types && GOBIN='$(abspath $(@D))' GOFLAGS=-mod=readonly go install tool .
	cd deploy/check/chart && GOBIN='$(abspath $(@D))' GOFLAGS=-mod=readonly go install .
	@touch $@

chart-check: install .venv-deploy/.installed .tools/bin/helm ## Have Helm's own command read the chart (needs Go; 6 minutes on one core the first time)
	@.venv-deploy/bin/python -m deploy.check.helm

.tools/bin/helm: deploy/check/chart/go.mod deploy/check/chart/go.sum .tools/bin/.installed
	cd deploy/check/chart && GOBIN='$(abspath $(@D))' GOFLAGS=-mod=readonly go install tool
	@touch $@

alerts-check: install .venv-deploy/.installed ## Have a real Prometheus scrape gateways under faults: each alert fires and clears, each panel shows something (4 minutes of a machine that does nothing else)
	@$(BIN)/python -m deploy.alerts $(ARGS)

clean: ## Remove what was installed or made
	rm -rf $(VENV) .venv-* .tools $(WEB)/node_modules $(WEB)/dist $(WEB)/src/gen .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* dist

.PHONY: help install demo run docs test coverage test-quick test-shaken mutants lint types format protos check-protos bench chaos interop interop-all bench-peers profile demo-web test-web lock deploy-check chart-check alerts-check clean
