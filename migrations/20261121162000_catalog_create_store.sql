-- What this installation remembers of its blob store, so that a volume that is not mounted is not taken for an
-- empty store, nor another installation's directory for its own. Every directory of the store says the same id.
create table catalog.store (
    single boolean primary key default true check (single),
    id     uuid    not null default gen_random_uuid()
);
insert into catalog.store default values;

-- The directories that were ever part of it. `id` is "first" or eight hexadecimal digits and stands in the keys of
-- what lies there; `path` is where it was last seen. Rows are never removed: keys may name them.
create table catalog.store_roots (
    id      text        primary key,
    path    text        not null,
    seen_at timestamptz not null default now()
);
