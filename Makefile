# One entry for everything. "make help" lists what there is; the commands themselves stand in tox.ini.

.DEFAULT_GOAL := help
SUPPORTED := import sys; sys.exit(sys.version_info < (3, 11))
# The first interpreter that is new enough; "make PYTHON=..." decides otherwise.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
VENV := .venv
TOX := $(VENV)/bin/tox -q run -e
# Made once, and again when a file changes that says what is in it.
CHECK := $(VENV)/bin/tox -q run --skip-pkg-install -e check --

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: $(VENV)/runtime ## See a cluster at work: a census of the Python library of this machine
	$(VENV)/bin/python manage.py migrate --verbosity 0
	@# Ctrl-C reaches this shell, too: it waits for the census, and an interrupted one is no error.
	@echo $(VENV)/bin/python manage.py census; \
		trap : INT TERM; $(VENV)/bin/python manage.py census; \
		code=$$?; test $$code -eq 130 || test $$code -eq 143 || exit $$code

.PHONY: check
check: $(VENV)/check ## Run the quick checks: lint, types, unit tests
	@$(CHECK) lint types unit

.PHONY: test test-all
test: ## Run what CI runs: lint, types, docs, chaos, all tests, and those that depend on versions on a second Python and Django
	@$(VENV)/bin/python scripts/run_tests.py
test-all: ## Run everything everywhere, as before a release
	@$(VENV)/bin/python scripts/run_tests.py --everywhere
test test-all: servers $(VENV)/tox

.PHONY: lint types unit docs format
lint: ## Check the style, and that every import points down
types: ## Check the types
unit: ## Run the unit tests: no server, no process of a cluster, few examples of each property
docs: ## Build the documentation into docs/_build/html
format: ## Bring the code into shape
lint types unit docs format: $(VENV)/check
	@$(CHECK) $@

.PHONY: contract integration e2e
contract: ## Run the suites that every adapter has to pass
integration: ## Run the tests of one part with the real thing
e2e: ## Run the tests of whole clusters
contract integration e2e: $(VENV)/tox
	@$(TOX) py -- tests/$@

.PHONY: chaos
SECONDS ?= 20
chaos: $(VENV)/tox ## Inject faults into clusters on each broker for SECONDS=20, and check that no task was lost
	@$(TOX) chaos -- --seconds $(SECONDS)

.PHONY: chaos-matrix
chaos-matrix: servers $(VENV)/bench ## Freeze, hold, forget, lose, reset, step clocks and kill on each broker for SECONDS=20; DOCS=1: into the docs
	@$(VENV)/bin/python scripts/run_chaos_matrix.py --seconds $(SECONDS) $(if $(DOCS),--docs)

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
	@$(VENV)/bin/python -m benchmarks.task_profile --docs
bench bench-main bench-quick bench-brokers profile: servers $(VENV)/bench

.PHONY: messages
messages: $(VENV)/runtime ## Bring the translations in step with the code, and compile them (needs gettext)
	@cd django_cluster && $(abspath $(VENV))/bin/django-admin makemessages --all --add-location file -e py,html
	@cd django_cluster && $(abspath $(VENV))/bin/django-admin compilemessages --verbosity 0

.PHONY: install
install: $(VENV)/runtime ## Make .venv with all that development needs
	$(VENV)/bin/python -m pip install --quiet --group dev
	@touch $(VENV)/tox

.PHONY: servers
servers: ## Install the servers that the tests start (Debian, as root), or say what is missing
	@scripts/install_servers.sh
	@scripts/install_mysql.sh || echo "MySQL could not be installed: its tests will be skipped."

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

$(VENV)/check: setup.cfg pyproject.toml tox.ini $(VENV)/tox
	$(TOX) check --notest
	@touch $@
