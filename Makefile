# The commands of this repository; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
LOCALSTACK := .venv-localstack
BENCHMARK := .venv-benchmark
AUDIT := .venv-audit
PIXEL := pixel/dist/tracking.js

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-15s %s\n", $$1, $$2}'

# Every start of a function imports what is installed here, so it is compiled once, now.
export UV_COMPILE_BYTECODE := 1

# uv is pinned by hash in requirements.txt like all else; pip fetches it once, uv does the rest.
$(VENV)/.installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(UV) || (awk '/^uv==/,!/\\$$/' requirements.txt > $(VENV)/uv.txt && $(BIN)/python -m pip install --quiet --require-hashes -r $(VENV)/uv.txt)
	VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --require-hashes requirements.txt
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(LOCALSTACK)/.installed: local/services/localstack-requirements.txt $(VENV)/.installed
	test -x $(LOCALSTACK)/bin/python || $(PYTHON) -m venv $(LOCALSTACK)
	VIRTUAL_ENV=$(LOCALSTACK) $(UV) pip sync --quiet --require-hashes local/services/localstack-requirements.txt
	touch $@

pixel/node_modules/.installed: pixel/package-lock.json
	cd pixel && npm ci --no-audit --no-fund --loglevel=error
	touch $@

$(PIXEL): pixel/node_modules/.installed $(wildcard pixel/src/*.ts) pixel/build.mjs pixel/rules.mjs functions/collect/rules.json
	cd pixel && npm run --silent build

.PHONY: setup
setup: $(VENV)/.installed $(LOCALSTACK)/.installed $(PIXEL) ## Install everything that the other commands need

.PHONY: run
run: setup ## Start PostgreSQL, LocalStack S3 and the runtime on http://127.0.0.1:8000 (Ctrl-C stops them)
	@exec $(BIN)/evothesis run

.PHONY: test
test: setup $(AUDIT)/.installed ## Run the whole suite on real PostgreSQL, LocalStack S3, Chromium, Firefox and WebKit
	cd pixel && npm test --silent
	$(BIN)/pytest

.PHONY: check
check: setup ## Lint and type-check everything, and measure the Lambda package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cfn-lint --regions us-east-1 --template sam-template.yaml
	cd pixel && npm run --silent check
	$(BIN)/python layers/measure.py

$(BENCHMARK)/.installed: benchmarks/baseline/requirements.txt $(VENV)/.installed
	test -x $(BENCHMARK)/bin/python || $(PYTHON) -m venv $(BENCHMARK)
	VIRTUAL_ENV=$(BENCHMARK) $(UV) pip sync --quiet --require-hashes benchmarks/baseline/requirements.txt
	touch $@

.PHONY: benchmark
benchmark: setup $(BENCHMARK)/.installed ## Measure intake beside a FastAPI collector, redaction, the runtime, a soak, retention, erasure, a flood of made-up hosts, and export beside COPY (needs wrk)
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/redaction.py
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/soak.py
	$(BIN)/python benchmarks/retention.py
	$(BIN)/python benchmarks/erasure.py
	$(BIN)/python benchmarks/flood.py
	$(BIN)/python benchmarks/export.py

.PHONY: benchmark-pixel
benchmark-pixel: setup ## Weigh and time the pixel beside its peers (from npm), and in use
	node benchmarks/pixel_size.mjs
	node benchmarks/pixel_load.mjs
	node benchmarks/pixel_handlers.mjs

.PHONY: compose-check compose-upgrade compose-exhaust
compose-check: setup ## Build the compose stack, walk through it with a browser, kill each of its parts (needs Docker)
	$(BIN)/python tests/compose/check.py

compose-upgrade: setup ## Upgrade the compose stack from the first schema under load (needs Docker)
	$(BIN)/python tests/compose/upgrade.py

compose-exhaust: setup ## Take the compose stack's disk and its memory away under load (needs Docker, and lets it mount)
	$(BIN)/python tests/compose/disk_full.py
	$(BIN)/python tests/compose/out_of_memory.py

$(AUDIT)/.installed: .ci/audit-requirements.txt $(VENV)/.installed
	test -x $(AUDIT)/bin/python || $(PYTHON) -m venv $(AUDIT)
	VIRTUAL_ENV=$(AUDIT) $(UV) pip sync --quiet --require-hashes .ci/audit-requirements.txt
	touch $@

.PHONY: audit
audit: $(AUDIT)/.installed pixel/node_modules/.installed ## Audit template, policies, Dockerfiles and alerts (promtool is in Debian's prometheus), and write what is shipped to build/sbom
	export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 && $(AUDIT)/bin/sam validate --lint --template sam-template.yaml
	$(AUDIT)/bin/checkov --config-file .ci/checkov.yaml --file sam-template.yaml local/containers/*.Dockerfile
	promtool check rules local/monitoring/alerts.yml && promtool test rules local/monitoring/alerts_test.yml
	mkdir -p build/sbom
	$(AUDIT)/bin/cyclonedx-py requirements local/containers/requirements.txt --output-reproducible --of JSON -o build/sbom/runtime.cdx.json
	for layer in core http arrow sketches; do $(AUDIT)/bin/cyclonedx-py requirements layers/dependencies/$$layer/requirements.txt \
	  --output-reproducible --of JSON -o build/sbom/layer-$$layer.cdx.json || exit 1; done
	cd pixel && npm sbom --sbom-format cyclonedx > ../build/sbom/pixel.cdx.json

.PHONY: audit-online
audit-online: $(AUDIT)/.installed ## Look for known vulnerabilities in all that is pinned (asks PyPI and npm)
	for pinned in requirements.txt local/containers/requirements.txt layers/dependencies/*/requirements.txt; do \
	  $(AUDIT)/bin/pip-audit --strict --disable-pip --require-hashes -r $$pinned || exit 1; done
	cd pixel && npm audit

.PHONY: docs
docs: setup ## Make the site of docs/ with the reference out of the code, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

.PHONY: sam
sam: audit ## Build every function and layer for AWS (needs python3.13 on the path)
	export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 && \
	$(AUDIT)/bin/sam build --template sam-template.yaml --build-dir .aws-sam/build

.PHONY: format
format: setup ## Format the Python code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: $(VENV)/.installed ## Resolve and pin every dependency anew
	$(UV) pip compile pyproject.toml --group dev --extra embedded --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -U -o requirements.txt
	$(UV) pip compile local/services/localstack-requirements.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -U -o local/services/localstack-requirements.txt
	$(UV) pip compile benchmarks/baseline/requirements.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -U -o benchmarks/baseline/requirements.txt
	$(UV) pip compile .ci/audit-requirements.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -q -U -o .ci/audit-requirements.txt
	$(UV) pip compile pyproject.toml --constraint requirements.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -o local/containers/requirements.txt
	$(UV) pip compile local/containers/node-requirements.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate -q -U -o local/containers/node-requirements.txt
	layers/dependencies/lock.sh

.PHONY: clean
clean: ## Remove environments and built files (never .data)
	rm -rf $(VENV) $(LOCALSTACK) $(BENCHMARK) $(AUDIT) .aws-sam build pixel/node_modules pixel/dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
