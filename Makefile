# Everything is set up by the first target that needs it: Python 3.11 or newer is all that must be there.
.DEFAULT_GOAL := help
.PHONY: help demo test check crash soak rules bench compose-test lock clean

help: ## this list
	@echo "make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## /  \1|/p' Makefile | awk -F '|' '{printf "%-15s %s\n", $$1, $$2}'

demo: ## servers, sample data and the daemon on this machine; ONCE=1 ends by itself, DATA=dir loads CSV files, JSON=1
	@deploy/bootstrap.sh embedded
	@.venv/bin/placemat demo $(if $(ONCE),--once) $(if $(DATA),--data "$(DATA)") $(if $(JSON),--json)

test: ## the tests, on real servers
	@deploy/bootstrap.sh embedded,dev
	@.venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

check: ## format, lint, types and the direction of imports
	@deploy/bootstrap.sh embedded,dev
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports

crash: ## the long tests that kill, cut and freeze (half an hour), then `make soak`; DATA=dir as there
	@deploy/bootstrap.sh embedded,dev
	@.venv/bin/python -m pytest -m long
	@$(MAKE) --no-print-directory soak

soak: ## at least 200 kills under load in 20 minutes, counted by the witness; DATA=dir loads CSV files, JSON=1
	@deploy/bootstrap.sh embedded,dev
	@.venv/bin/python -m tests.crash.soak $(if $(DATA),--data "$(DATA)") $(if $(JSON),--json)

rules: ## the rules of delivery, each switched off in a copy: its tests must fail (half an hour)
	@deploy/bootstrap.sh embedded,dev
	@.venv/bin/python -m tests.crash.switched_off --baseline

bench: ## throughput, latency and memory, beside PostgreSQL's own tools
	@deploy/bootstrap.sh embedded,dev
	@.venv/bin/python -m tests.bench

compose-test: ## the containers: build, start, kill under load, verify, remove
	@deploy/compose-test.sh

lock: ## the lock files, anew from pyproject.toml
	@deploy/bootstrap.sh embedded,dev
	@deploy/lock.sh

clean: ## remove what was built and installed here
	rm -rf .venv build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
