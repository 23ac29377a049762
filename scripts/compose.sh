#!/usr/bin/env bash
# Hands its arguments to whichever Compose is installed: the plugin, or else the older docker-compose.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

if docker compose version >/dev/null 2>&1; then
  exec docker compose "$@"
elif have docker-compose; then
  exec docker-compose "$@"
fi
die "neither 'docker compose' nor docker-compose is installed"
