#!/bin/sh
# Run once by the PostgreSQL container, when its volume is new: the account that Hythe's services use. The account
# that owns the tables and runs migrations is POSTGRES_USER.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set password="$POSTGRES_PASSWORD" <<'SQL'
create role hythe_app login password :'password';
SQL
