# `make` lists the targets. Everything here is also what CI runs; nothing needs a database or a network service
# that the targets do not start themselves.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Queries were checked against a database when .sqlx was written; a build needs none.
export SQLX_OFFLINE := true
export PYTHONDONTWRITEBYTECODE := 1

# For `make run`: where the data lies, and the two addresses. Empty means the server's own defaults.
export DATA_DIR LISTEN OPS_LISTEN

.PHONY: help run build test setup fmt check conformance e2e soak deny sqlx image up down

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, build, and serve in the foreground (DATA_DIR=, LISTEN=, OPS_LISTEN=)
	@exec scripts/run.sh

build: ## the debug build of the program
	@cargo build --workspace --locked

test: ## every check there is: format, lints, tests, conformance, real clients
	@scripts/test.sh

setup: image ## serve from containers on port 8080, in the background (PROFILE=single, SCALE=registry=3)
	@scripts/compose.sh up

down: ## stop that; the data stays in its volumes
	@scripts/compose.sh down
