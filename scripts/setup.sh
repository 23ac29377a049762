#!/usr/bin/env bash
# Installs what is missing, and nothing that is there: `setup.sh run` for building and running Hythe, `setup.sh bench`
# for the registry it is measured beside as well, `setup.sh test` for that and the clients that the tests drive,
# `setup.sh soak` for that and what `make soak` needs, `setup.sh compose` for `make compose`. Silent when there is nothing to do.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

RUST_MINIMUM=1.95

# Each line: how to see that a thing is there, and the Debian package that brings it.
RUN_NEEDS='
have cc                                         gcc
[ -e /usr/include/stdio.h ]                     libc6-dev
have ld                                         binutils
have make                                       make
compgen -G "/usr/lib/postgresql/*/bin/initdb" || have initdb   postgresql-15
'
BENCH_NEEDS='
have docker-registry                            docker-registry
'
TEST_NEEDS='
have curl                                       curl
have jq                                         jq
have strace                                     strace
have git                                        git
[ -e /etc/ssl/certs/ca-certificates.crt ]       ca-certificates
[ -x /usr/bin/python3 ]                         python3
/usr/bin/python3 -c "import requests"           python3-requests
/usr/bin/python3 -c "import ensurepip"          python3-venv
have dockerd                                    docker.io
have containerd && have ctr                     containerd
have podman                                     podman
have skopeo                                     skopeo
have buildah                                    buildah
[ -x /usr/bin/chromium ]                        chromium
compgen -G "/usr/share/fonts/*/noto/NotoSansCJK*" fonts-noto-cjk
'

COMPOSE_NEEDS='
have docker-compose                             docker-compose
have debootstrap                                debootstrap
'

# missing NEEDS: prints the packages of the lines whose check fails.
missing() {
  local line package check
  while IFS= read -r line; do
    [ -n "$line" ] || continue
    package=${line##* }
    check=${line% *}
    eval "$check" >/dev/null 2>&1 || printf '%s ' "$package"
  done <<<"$1"
}

check_rust() {
  have cargo || die "Rust $RUST_MINIMUM or later is needed to build Hythe, and cargo is not on the PATH"
  local version
  version=$(rustc --version | cut -d' ' -f2)
  [ "$(printf '%s\n' "$RUST_MINIMUM" "$version" | sort -V | head -n 1)" = "$RUST_MINIMUM" ] ||
    die "Rust $RUST_MINIMUM or later is needed to build Hythe; this is $version"
}

case "${1:-}" in
  run) needs=$RUN_NEEDS ;;
  bench) needs=$RUN_NEEDS$BENCH_NEEDS ;;
  test | soak) needs=$RUN_NEEDS$BENCH_NEEDS$TEST_NEEDS ;;
  compose) needs=$COMPOSE_NEEDS ;;
  *) die "usage: setup.sh run|bench|test|soak|compose" ;;
esac

packages=$(missing "$needs")
# shellcheck disable=SC2086 # a list of package names
[ -z "$packages" ] || install_packages $packages
packages=$(missing "$needs")
[ -z "$packages" ] || die "still missing after the installation: $packages"
check_rust
case "$1" in
  test)
    /usr/bin/python3 scripts/tools.py
    /usr/bin/python3 tests/browser/setup.py
    ;;
  soak) /usr/bin/python3 scripts/tools.py soak ;;
esac
