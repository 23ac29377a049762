create schema tenancy;

create table tenancy.projects (
    id               bigint generated always as identity primary key,
    name             text collate "C" not null check (length(name) between 1 and 255),
    owner_id         bigint      not null references identity.users (id),
    public           boolean     not null default false,
    -- Harbor's other project metadata keys, as strings.
    metadata         jsonb       not null default '{}',
    -- Opaque here; only `replication` will know what it means. NULL: not a proxy cache.
    upstream_id      bigint,
    -- Repositories with at least one publication; kept by `catalog` through this crate's method.
    repository_count bigint      not null default 0 check (repository_count >= 0),
    created_at       timestamptz not null default now(),
    updated_at       timestamptz not null default now(),
    deleted_at       timestamptz
);
create unique index projects_name_key on tenancy.projects (name) where deleted_at is null;
create index projects_owner_id_idx on tenancy.projects (owner_id);

create table tenancy.members (
    id          bigint generated always as identity primary key,
    project_id  bigint      not null references tenancy.projects (id) on delete cascade,
    -- 'u' user, 'g' group
    entity_type text        not null check (entity_type in ('u', 'g')),
    entity_id   bigint      not null,
    role        smallint    not null check (role between 1 and 5),
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    unique (project_id, entity_type, entity_id)
);
create index members_entity_idx on tenancy.members (entity_type, entity_id);

-- Hot rows, so they stand apart from the project they belong to.
create table tenancy.quotas (
    project_id bigint primary key references tenancy.projects (id) on delete cascade,
    hard_bytes bigint      not null default -1 check (hard_bytes >= -1),
    used_bytes bigint      not null default 0 check (used_bytes >= 0),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- Run-time settings, typed in settings.rs; a key that is absent has its default.
create table tenancy.settings (
    key        text primary key,
    value      jsonb       not null,
    updated_at timestamptz not null default now()
);
