# Everything happens in .venv with relative paths, so that spaces in the folder's name do no harm.

ARGS ?=
# Tests wait for servers most of the time; each worker has servers of its own.
WORKERS ?= 3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
SOURCES := domain projections adapters tests benchmarks

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo up test lint fmt contract env clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1	\2/p' Makefile
	@echo
	@echo '  ARGS=… is passed on:  make demo ARGS=--exit    make test ARGS="-k embedded"'

demo: $(VENV)/.run ## show everything on a made-up fleet, with servers of its own
	@$(VENV)/bin/configtrail demo $(ARGS)

up: $(VENV)/.run ## run the service, with servers of its own
	@$(VENV)/bin/configtrail up $(ARGS)

test: lint ## check and test everything, against real servers
	$(PY) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(VENV)/.dev ## check style, types and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

fmt: $(VENV)/.dev ## put the code into its form
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

contract: $(VENV)/.dev ## write the files of docs/contract that are generated from the code
	@$(PY) -m adapters.contract

env: .env ## make fresh secrets and certificates for compose.yaml, once

.env: | $(VENV)/.run
	@$(PY) deploy/make_certificates.py deploy/tls
	@$(VENV)/bin/configtrail accounts add --folder deploy/nats
	@$(PY) deploy/make_env.py $@
	@echo "$@ written: keep it safe, the data can't be read without it"

clean: ## remove what was installed and cached, but no data folder
	rm -rf $(VENV) build configtrail.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(SOURCES) deploy -name __pycache__ -type d -prune -exec rm -rf {} +

# A second run finds the stamps and installs nothing. What tests need suffices for the rest.
$(VENV)/.run: $(VENV)/.python pyproject.toml constraints.txt
	@if [ ! $(VENV)/.dev -nt pyproject.toml ] || [ ! $(VENV)/.dev -nt constraints.txt ]; then \
	  echo "installing into $(VENV) (a minute or so, the first time)"; \
	  $(PIP) install -c constraints.txt -e . || exit 1; \
	fi
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	@echo "installing into $(VENV) (a minute or so, the first time)"
	@$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.python:
	@sh deploy/make_venv.sh $(VENV)
	@touch $@
