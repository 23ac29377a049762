#!/usr/bin/env bash
# `make run`: from a fresh clone to a serving registry. Stays in the foreground; Ctrl-C stops it in good order.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

scripts/setup.sh run
export SQLX_OFFLINE=true
program="${CARGO_TARGET_DIR:-target}/release/hythe"
[ -x "$program" ] || say "Building Hythe; the first build takes several minutes."
cargo build --release --locked --package hythe-cli --bin hythe

options=()
[ -z "${DATA_DIR:-}" ] || options+=(--data-dir "$DATA_DIR")
[ -z "${LISTEN:-}" ] || options+=(--listen "$LISTEN")
[ -z "${OPS_LISTEN:-}" ] || options+=(--ops-listen "$OPS_LISTEN")
exec "$program" serve "${options[@]}"
