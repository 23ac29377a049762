-- Attempts to create projects, one row per account: the answer to a name that is taken tells of a project that may be
-- hidden, so it cannot be asked for many names.
create table tenancy.creation_attempts (
    actor_kind   text        not null,
    actor_id     bigint      not null,
    window_start timestamptz not null default now(),
    attempts     integer     not null default 1,
    primary key (actor_kind, actor_id)
);
