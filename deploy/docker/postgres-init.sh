#!/bin/sh
# Run once by the PostgreSQL container, when its volume is new: the account that Hythe's services use. It gets its
# rights from `hythe migrate`, which runs as POSTGRES_USER, the owner of the tables.
set -eu
: "${HYTHE_APP_PASSWORD:?the password for the account of the services is not set}"
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set password="$HYTHE_APP_PASSWORD" <<'SQL'
create role hythe_app login password :'password';
SQL
