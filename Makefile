# One entry for everything. "make help" lists what there is; the commands themselves stand in tox.ini.

.DEFAULT_GOAL := help
SUPPORTED := import sys; sys.exit(sys.version_info < (3, 11))
# The first interpreter that is new enough; "make PYTHON=..." decides otherwise.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
VENV := .venv
TOX := $(VENV)/bin/tox -q run -e

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: $(VENV)/runtime ## See a cluster at work: a census of the Python library of this machine
	$(VENV)/bin/python manage.py migrate --verbosity 0
	$(VENV)/bin/python manage.py census

.PHONY: test
test: servers $(VENV)/tox ## Run everything that CI runs: lint, types, docs, chaos, and all tests on two pairs of Python and Django
	@$(VENV)/bin/python scripts/run_tests.py

.PHONY: check
check: lint types unit ## Run the quick checks: lint, types, unit tests

.PHONY: format
format: $(VENV)/tox ## Bring the code into shape
	@$(TOX) format

.PHONY: lint
lint: $(VENV)/tox ## Check the style, and that every import points down
	@$(TOX) lint

.PHONY: types
types: $(VENV)/tox ## Check the types
	@$(TOX) types

.PHONY: unit contract integration e2e
unit: ## Run the unit tests: no server, no process, seconds in total
contract: ## Run the suites that every adapter has to pass
integration: ## Run the tests of one part with the real thing
e2e: ## Run the tests of whole clusters
unit contract integration e2e: $(VENV)/tox
	@$(TOX) py -- tests/$@

.PHONY: chaos
SECONDS ?= 20
chaos: $(VENV)/tox ## Kill clusters on each broker for SECONDS=20, and check the books
	@$(TOX) chaos -- --seconds $(SECONDS)

.PHONY: coverage
coverage: $(VENV)/tox ## Run all tests and show which lines none of them reaches
	@$(TOX) coverage

.PHONY: bench bench-main bench-quick bench-brokers profile
bench: ## Measure django_cluster and its peers, about two hours; the numbers go into the docs
	@$(VENV)/bin/python -m benchmarks.run --docs --million
bench-main: ## The main tables alone; the numbers go into the docs
	@$(VENV)/bin/python -m benchmarks.run --docs --scenarios throughput rest work payload schedules --repetitions 2
bench-quick: ## The same in a quarter of an hour, once each, for a first look
	@$(VENV)/bin/python -m benchmarks.run --size quick --repetitions 1
bench-brokers: ## Every broker beside the floor of its server, in four minutes; the numbers go into the docs
	@$(VENV)/bin/python -m benchmarks.brokers --docs
profile: ## See where the microseconds of a task's life go; the numbers go into the docs
	@$(VENV)/bin/python -m benchmarks.life --docs
bench bench-main bench-quick bench-brokers profile: servers $(VENV)/bench

.PHONY: messages
messages: $(VENV)/runtime ## Bring the translations in step with the code, and compile them (needs gettext)
	@cd django_cluster && $(abspath $(VENV))/bin/django-admin makemessages --all --add-location file -e py,html
	@cd django_cluster && $(abspath $(VENV))/bin/django-admin compilemessages --verbosity 0

.PHONY: docs
docs: $(VENV)/tox ## Build the documentation into docs/_build/html
	@$(TOX) docs

.PHONY: install
install: $(VENV)/runtime ## Make .venv with all that development needs
	$(VENV)/bin/python -m pip install --quiet --group dev
	@touch $(VENV)/tox

.PHONY: servers
servers: ## Install the servers that the tests start (Debian, as root), or say what is missing
	@scripts/install_servers.sh

.PHONY: clean
clean: ## Delete all that was built, .venv included
	rm -rf $(VENV) .tox .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	rm -rf build dist docs/_build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, and was not found." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip

$(VENV)/runtime: setup.cfg | $(VENV)/bin/python
	@# Setuptools warns of every editable installation, as if it were not meant.
	PYTHONWARNINGS=ignore $(VENV)/bin/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/bench: pyproject.toml $(VENV)/runtime
	$(VENV)/bin/python -m pip install --quiet --group test
	@touch $@

$(VENV)/tox: | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet tox
	@touch $@
