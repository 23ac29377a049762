-- Projects that people have marked for themselves. A mark gives no right: what somebody may not see any more is not
-- listed, marked or not.
create table tenancy.favourites (
    user_id    bigint      not null references identity.users (id) on delete cascade,
    project_id bigint      not null references tenancy.projects (id) on delete cascade,
    created_at timestamptz not null default now(),
    primary key (user_id, project_id)
);
create index favourites_project_id_idx on tenancy.favourites (project_id);
