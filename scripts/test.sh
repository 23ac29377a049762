#!/usr/bin/env bash
# `make test`: all parts run, also after one has failed; the last lines say how each ended.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
. scripts/lib.sh

scripts/setup.sh test || exit 1
export SQLX_OFFLINE=true PYTHONDONTWRITEBYTECODE=1
# The tests wait more than they compute.
export RUST_TEST_THREADS=$((2 * $(nproc)))

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0 failed=0 skipped=0
summary=()

# part NAME COMMAND...: runs a part, and adds its closing counts to the sums. A part without counts is one test.
part() {
  local name=$1 status=0 began=$SECONDS counts p f s outcome
  shift
  say "" "== $name"
  "$@" 2>&1 | tee "$logs/$name" || status=$?
  counts=$(awk '
    /^test result: / {
      for (field = 2; field <= NF; field++) {
        if ($field ~ /^passed/) p += $(field - 1)
        if ($field ~ /^failed/) f += $(field - 1)
        if ($field ~ /^ignored/) s += $(field - 1)
      }
      seen = 1
    }
    /^[a-z0-9]+: [0-9]+ passed, [0-9]+ failed/ { p = $2; f = $4; s = $6 + 0; seen = 1 }
    END { if (seen) print p + 0, f + 0, s + 0 }
  ' "$logs/$name")
  if [ -z "$counts" ]; then
    counts="$((status == 0)) $((status != 0)) 0"
  fi
  read -r p f s <<<"$counts"
  # A part can end badly without a test that says so, such as a test program that crashes.
  [ "$status" -eq 0 ] || [ "$f" -gt 0 ] || f=1
  [ "$f" -gt 0 ] && outcome=FAILED || outcome=ok
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  summary+=("$(printf '%-20s %-7s %4d passed %3d failed %3d skipped %5d s' \
    "$name" "$outcome" "$p" "$f" "$s" $((SECONDS - began)))")
}

# Cases in which blobs themselves matter: their bytes in parts, in ranges, broken off, mounted.
on_s3='^(docker login, push, pull|ctr push: each|a connection that|podman push as|crane copy|oras copy|helm package|regctl sends|a PATCH)'

part format cargo fmt --all --check
part lints cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
part build cargo build --quiet --workspace --locked
# All that follows drives this one program.
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export HYTHE_BIN="$target/debug/hythe"
part tests cargo test --quiet --workspace --locked --no-fail-fast
part conformance tests/conformance/run.py
part conformance-split tests/conformance/run.py --split
part conformance-s3 tests/conformance/run.py --storage s3
part browser tests/browser/run.py
part e2e tests/e2e/run.py
part e2e-s3 tests/e2e/run.py --storage s3 --only "$on_s3"
part e2e-redirect tests/e2e/run.py --storage s3 --redirect --only '^(docker login, push, pull|crane push)'

say "" "== result"
printf '%s\n' "${summary[@]}"
say "total: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
