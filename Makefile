# `make` lists the targets. Everything here is also what CI runs; nothing needs a database or a network service
# that the targets do not start themselves.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Queries were checked against a database when .sqlx was written; a build needs none.
export SQLX_OFFLINE := true
export PYTHONDONTWRITEBYTECODE := 1

# For `make run`: where the data lies, and the two addresses. Empty means the server's own defaults.
export DATA_DIR LISTEN OPS_LISTEN
# For `make bench`: how much, and on which disk.
export QUICK FULL BENCH_DIR MEMORY_PUSH_MIB

.PHONY: help run build test setup fmt check conformance e2e browser screenshots compose soak bench deny sqlx image up down

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, build, and serve in the foreground (DATA_DIR=, LISTEN=, OPS_LISTEN=)
	@exec scripts/run.sh

build: ## the debug build of the program
	@cargo build --workspace --locked

test: ## every check there is: format, lints, tests, conformance, real clients
	@scripts/test.sh

setup: ## install what the tests need, and nothing that is there
	@scripts/setup.sh test

fmt: ## format the code
	@cargo fmt --all

check: ## format and lints, without running anything
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --locked -- -D warnings

conformance: setup build ## the distribution specification against a fresh server
	@tests/conformance/run.py
	@tests/conformance/run.py --storage s3

e2e: setup build ## Docker, podman, skopeo, crane, oras and others against a fresh server (needs root)
	@tests/e2e/run.py

browser: setup build ## the web console in Chromium against a fresh server
	@tests/browser/run.py

screenshots: setup build ## pictures of the console's pages, in both languages and themes, in target/screenshots
	@tests/browser/run.py --screenshots $(or $(CARGO_TARGET_DIR),target)/screenshots

compose: setup build ## docker-compose.yml on a real Docker engine (needs root, makes a Debian first)
	@scripts/setup.sh compose
	@tests/compose/run.py

soak: setup build ## kills, database faults, fuzzing, fifty blobs of 1 GiB, a layer of 5 GiB, S3 on bad days and on MinIO, full disks (30 GiB below /tmp, root)
	@HYTHE_CRASH_ROUNDS=$(or $(CRASH_ROUNDS),200) cargo test --locked --package hythe-testbed --test it r_01 -- --nocapture
	@HYTHE_FAULT_ROUNDS=$(or $(FAULT_ROUNDS),5) cargo test --locked --package hythe-testbed --test it faults:: -- --nocapture --test-threads=2
	@HYTHE_FUZZ_REQUESTS=$(or $(FUZZ_REQUESTS),200000) cargo test --locked --package hythe-testbed --test it ds_12 -- --nocapture
	@PROPTEST_CASES=$(or $(FUZZ_CASES),65536) cargo test --locked --package hythe-oci --test fuzz
	@HYTHE_MEMORY_MIB=$(or $(MEMORY_MIB),1024) cargo test --locked --package hythe-testbed --test it ds_11 -- --nocapture
	@tests/soak/large_layer.py --mebibytes $(or $(LAYER_MIB),5120)
	@scripts/setup.sh soak
	@HYTHE_R09_UPLOADS=$(or $(R09_UPLOADS),1000) cargo test --locked --package hythe-blobstore --test faults -- --nocapture
	@HYTHE_S3_SERVER=minio cargo test --locked --package hythe-blobstore --test suite --test minio -- --include-ignored \
	  --test-threads 3 s3:: encryption
	@tests/conformance/run.py --storage minio
	@tests/conformance/run.py --storage minio-hosted --only '^blobs'
	@tests/e2e/run.py --storage s3
	@tests/e2e/run.py --storage minio --redirect --only '^(docker|crane|podman)'
	@tests/soak/disks.py

bench: ## Hythe beside Debian's docker-registry, measured (QUICK=1, FULL=1, BENCH_DIR=); see docs/PERFORMANCE.md
	@exec scripts/bench.sh

deny: ## licences, bans and sources of the dependencies (needs cargo-deny)
	@cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --version 0.20.2 --locked
	@cargo deny --locked check bans licenses sources

sqlx: ## after a change to a query or a migration: write .sqlx anew
	@scripts/sqlx-prepare.sh

image: ## the container image, as hythe:local
	@docker build --file deploy/docker/Dockerfile --tag hythe:local .

up: image ## serve from containers on port 8080, in the background (PROFILE=single, SCALE=registry=3)
	@scripts/compose.sh up

down: ## stop that; the data stays in its volumes
	@scripts/compose.sh down
