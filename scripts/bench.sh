#!/usr/bin/env bash
# `make bench`: builds Hythe and the load generator, and measures Hythe beside Debian's docker-registry.
# FULL=1 moves 1 GiB in each of fifty transfers; QUICK=1 ends within two minutes; BENCH_DIR is the disk to measure.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

scripts/setup.sh bench
export SQLX_OFFLINE=true
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
[ -x "$target/release/hythe" ] || say "Building Hythe; the first build takes several minutes."
cargo build --release --locked --package hythe-cli --bin hythe
# Apart, so that no feature of a dependency gets into the server through the generator.
cargo build --release --locked --package hythe-bench --bin hythe-bench

size=default
[ -z "${QUICK:-}" ] || size=quick
[ -z "${FULL:-}" ] || size=full
options=()
[ -z "${BENCH_DIR:-}" ] || options+=(--dir "$BENCH_DIR")
[ -z "${MEMORY_PUSH_MIB:-}" ] || options+=(--memory-push-mib "$MEMORY_PUSH_MIB")
commit=$(git describe --always --dirty 2>/dev/null || echo unknown)
mkdir -p "$target/bench"
"$target/release/hythe-bench" run --hythe "$target/release/hythe" --peer "$(command -v docker-registry)" \
  --size "$size" --commit "$commit" --json "$target/bench/results.json" --markdown "$target/bench/table.md" \
  "${options[@]}"
say "Results: $target/bench/results.json, and as a table $target/bench/table.md"
