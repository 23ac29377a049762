-- Accounts of programs. What one may do is in tenancy.robot_grants.
create table identity.robots (
    id                  bigint generated always as identity primary key,
    -- Opaque here: the project it belongs to; null for one of the whole installation.
    project_id          bigint,
    -- NAME, or PROJECT+NAME; logins and answers put a prefix in front.
    name                text        not null check (length(name) between 1 and 511),
    description         text        not null default '' check (length(description) <= 1024),
    -- sha256:HEX of a secret made here, or the argon2id hash of a chosen one.
    secret_hash         text        not null,
    credential_version  bigint      not null default 1,
    -- Days from the creation on; -1 without end.
    duration_days       bigint      not null,
    expires_at          timestamptz,
    disabled            boolean     not null default false,
    creator_kind        text        not null check (creator_kind in ('user', 'robot')),
    creator_id          bigint      not null,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    deleted_at          timestamptz,
    last_used_at        timestamptz,
    last_used_address   text        not null default '',
    last_used_client    text        not null default ''
);
create unique index robots_name_key on identity.robots (name) where deleted_at is null;
create index robots_project_id_idx on identity.robots (project_id) where deleted_at is null;
