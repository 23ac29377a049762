create schema sealed;

-- Master keys by number. The canary tells a wrong master key at start-up instead of at first use.
create table sealed.keys (
    key_id     integer     primary key,
    canary     bytea       not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz
);
