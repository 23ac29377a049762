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

# PostgreSQL wants its passwords from its first start on; new ones would not fit its volume later.
new_password() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }
if [ ! -e .env ] && [ -z "${HYTHE_DATABASE_PASSWORD:-}${HYTHE_APP_PASSWORD:-}" ]; then
  (umask 077 && printf 'HYTHE_DATABASE_PASSWORD=%s\nHYTHE_APP_PASSWORD=%s\n' "$(new_password)" "$(new_password)" >.env)
  say "wrote .env with new passwords for PostgreSQL; keep it with the volumes"
fi
# Installations from before the services had a password of their own: their account has the owner's.
if [ -e .env ] && grep -q '^HYTHE_DATABASE_PASSWORD=' .env && ! grep -q '^HYTHE_APP_PASSWORD=' .env; then
  printf 'HYTHE_APP_PASSWORD=%s\n' "$(sed -n 's/^HYTHE_DATABASE_PASSWORD=//p' .env)" >>.env
  say "the services go on with the password in .env; docs/OPERATIONS.md says how to give them one of their own"
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
