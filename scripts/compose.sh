#!/usr/bin/env bash
# `compose.sh up|down`: starts or stops the containers of docker-compose.yml with whichever Compose is installed, the
# plugin or the older docker-compose. PROFILE=single takes the one container with everything in it; SCALE=registry=3
# starts three registry nodes.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif have docker-compose; then
  compose=(docker-compose)
else
  die "neither 'docker compose' nor docker-compose is installed"
fi

# PostgreSQL wants a password from its first start on; a new one would not fit its volume later.
if [ ! -e .env ] && [ -z "${HYTHE_DATABASE_PASSWORD:-}" ]; then
  (umask 077 && printf 'HYTHE_DATABASE_PASSWORD=%s\n' "$(od -An -tx1 -N24 /dev/urandom | tr -d ' \n')" >.env)
  say "wrote .env with a new password for PostgreSQL; keep it with the volumes"
fi

case "${1:-}" in
  up)
    arguments=(up --detach)
    [ -z "${SCALE:-}" ] || arguments+=(--scale "$SCALE")
    case "${PROFILE:-split}" in
      split) ;;
      single) arguments+=(hythe) ;;
      *) die "PROFILE is split or single, not $PROFILE" ;;
    esac
    exec "${compose[@]}" "${arguments[@]}"
    ;;
  down)
    exec "${compose[@]}" --profile single down
    ;;
  *) die "usage: compose.sh up|down" ;;
esac
