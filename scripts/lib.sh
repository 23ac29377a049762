# shellcheck shell=bash
# Helpers of the other scripts; sourced, never run. No side effects.

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() { warn "error: $*"; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: runs it directly as root, through sudo otherwise.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    return 127
  fi
}

# install_packages PACKAGE...: Debian packages, quietly, without starting any service and without creating a
# PostgreSQL cluster. Everything it changes beside the packages is put back.
install_packages() {
  local log policy_made=no cluster_made=no status=0
  local policy=/usr/sbin/policy-rc.d cluster=/etc/postgresql-common/createcluster.d/hythe-setup.conf
  have apt-get || die "these are missing and this is not a Debian system, so please install their like: $*"
  if [ "$(id -u)" -ne 0 ] && ! have sudo; then
    die "these Debian packages are missing; install them as root and try again:
  apt-get install --no-install-recommends $*"
  fi
  say "Installing Debian packages: $*"
  log=$(mktemp)
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    policy_made=yes
  fi
  if [ ! -e "$cluster" ]; then
    as_root mkdir -p "$(dirname "$cluster")"
    echo 'create_main_cluster = false' | as_root tee "$cluster" >/dev/null
    cluster_made=yes
  fi
  { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 \
      install -y --no-install-recommends "$@"; } </dev/null >"$log" 2>&1 || status=$?
  [ "$policy_made" = no ] || as_root rm -f "$policy"
  [ "$cluster_made" = no ] || as_root rm -f "$cluster"
  if [ "$status" -ne 0 ]; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    die "apt-get could not install: $*"
  fi
  rm -f "$log"
}
