#!/usr/bin/env bash
# Rewrites .sqlx, the committed description of every checked query, against a throw-away PostgreSQL.
#
#   scripts/sqlx-prepare.sh                rewrites .sqlx for the whole workspace
#   scripts/sqlx-prepare.sh --check        changes nothing; fails when .sqlx is not what the code asks for
#   scripts/sqlx-prepare.sh -p hythe-audit adds the queries of one package and removes none
#
# The macros of sqlx write the description of a query while they expand, when both DATABASE_URL and
# SQLX_OFFLINE_DIR are set, so neither sqlx-cli nor a server of one's own is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

check=false
packages=()
while [ $# -gt 0 ]; do
    case $1 in
        --check) check=true ;;
        -p) packages+=(-p "$2"); shift ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
    esac
    shift
done
if $check && [ ${#packages[@]} -gt 0 ]; then
    echo "--check looks at the whole workspace and takes no -p" >&2
    exit 2
fi

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -n | tail -n 1 || true)
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb)") || {
    echo "no PostgreSQL found; install the package postgresql-15" >&2
    exit 1
}

# PostgreSQL refuses to run as root; its socket directory has to be short and reachable by its account.
work=$(mktemp -d /tmp/hythe-sqlx.XXXXXX)
chmod 711 "$work"
mkdir "$work/server" "$work/queries"
server() { "$@"; }
if [ "$(id -u)" = 0 ]; then
    chown postgres "$work/server"
    server() { (cd "$work/server" && runuser -u postgres -- "$@"); }
fi
cleanup() {
    server "$bin/pg_ctl" -D "$work/server/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

server "$bin/initdb" -D "$work/server/data" -U hythe -A trust -E UTF8 --locale=C.UTF-8 --no-sync >/dev/null
server "$bin/pg_ctl" -D "$work/server/data" -l "$work/server/log" -w \
    -o "-c listen_addresses='' -c unix_socket_directories=$work/server -c fsync=off" start >/dev/null
for file in migrations/*.sql; do
    "$bin/psql" -h "$work/server" -U hythe -d postgres -v ON_ERROR_STOP=1 -q -1 -f "$file"
done

# Cargo does not expand macros again in files that it takes for unchanged.
grep -rlE --include='*.rs' 'query(_as|_scalar|_file[a-z_]*)?(_unchecked)?!' crates | xargs -r touch

[ ${#packages[@]} -gt 0 ] || packages=(--workspace)
unset SQLX_OFFLINE
DATABASE_URL="postgres://hythe@localhost/postgres?host=$work/server" SQLX_OFFLINE_DIR="$work/queries" \
    cargo check --all-targets "${packages[@]}"

count=$(find "$work/queries" -name 'query-*.json' | wc -l)
if $check; then
    if ! diff -rq .sqlx "$work/queries"; then
        echo ".sqlx does not match the queries in the code; run make sqlx and commit the result" >&2
        exit 1
    fi
    echo ".sqlx matches all $count queries"
    exit 0
fi
mkdir -p .sqlx
if [ "${packages[0]}" = --workspace ]; then
    find .sqlx -name 'query-*.json' -delete
fi
find "$work/queries" -name 'query-*.json' -exec cp {} .sqlx/ \;
echo "$count queries described in .sqlx"
