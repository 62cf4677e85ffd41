# Everything a developer does, one word each. `make test` needs Python 3.11 or later and nothing else.
PYTHON ?= python3
UV     := $(shell command -v uv 2>/dev/null || echo .cache/uv/bin/uv)
RUN    := $(UV) run --frozen
PYTEST_ARGS ?=

.PHONY: serve test test-integrations lint format servers unit e2e bench lock lock-integrations clean

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

# torch for CPUs isn't on PyPI: it is where UV_FIND_LINKS or PIP_FIND_LINKS says, or where uv knows it to be
TORCH := $(or $(addprefix --find-links=,$(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS))),--torch-backend=cpu)

test-integrations: .venv/ready .cache/integrations/ready ## libraries that log to MLflow; 2 GB, ten minutes
	$(RUN) python -m pytest integrations $(PYTEST_ARGS)

.cache/integrations/ready: integrations/requirements.txt pyproject.toml | .venv/ready
	$(UV) venv --quiet --clear --python .venv/bin/python .cache/integrations
	$(UV) pip sync --quiet --compile-bytecode --python .cache/integrations/bin/python $(TORCH) $<
	$(UV) pip install --quiet --compile-bytecode --python .cache/integrations/bin/python --constraint $< --editable .
	@touch $@

format: .venv/ready
	$(RUN) ruff check --fix
	$(RUN) ruff format

bench: .venv/ready            ## beside a real mlflow server; about 45 minutes
	$(RUN) python -m benchmarks

lock: $(UV)
	$(UV) lock

lock-integrations: $(UV)
	$(UV) pip compile --quiet --upgrade --no-header --no-annotate --no-emit-find-links --no-emit-index-url \
		--python-version 3.11 $(TORCH) integrations/requirements.in -o integrations/requirements.txt

.venv/ready: pyproject.toml uv.lock | $(UV)
	$(UV) sync --frozen --compile-bytecode
	@touch $@

.cache/uv/bin/uv:
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/python -m pip install --quiet uv

clean:
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
