# Everything a developer does, one word each. `make test` needs Python 3.11 or later and nothing else.
PYTHON ?= python3
UV     := $(shell command -v uv 2>/dev/null || echo .cache/uv/bin/uv)
RUN    := $(UV) run --frozen
PYTEST_ARGS ?=

.PHONY: serve test lint format servers unit e2e bench lock clean

serve: .venv/ready            ## a server on 127.0.0.1:5000
	$(RUN) shoso server

test: lint servers unit               ## what CI runs: the linters, then every test

lint: .venv/ready
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) lint-imports

servers: ## the storage servers that the tests start; root, on Debian
	tests/servers/install.sh

unit: .venv/ready
	$(RUN) pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

format: .venv/ready
	$(RUN) ruff check --fix
	$(RUN) ruff format

bench: .venv/ready            ## beside a real mlflow server; about 45 minutes
	$(RUN) python -m benchmarks

lock: $(UV)
	$(UV) lock

.venv/ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --compile-bytecode
	@touch $@

.cache/uv/bin/uv:
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/python -m pip install --quiet uv

clean:
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
