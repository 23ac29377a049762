-- Labels of the installation (project_id is null) and of projects, and the artifacts that wear them.
create table catalog.labels (
    id          bigint generated always as identity primary key,
    project_id  bigint      references tenancy.projects (id),
    name        text        not null check (length(name) between 1 and 128),
    description text        not null default '',
    color       text        not null default '',
    created_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    unique nulls not distinct (project_id, name)
);

create table catalog.manifest_labels (
    manifest_id bigint not null references catalog.manifests (id) on delete cascade,
    label_id    bigint not null references catalog.labels (id) on delete cascade,
    primary key (manifest_id, label_id)
);
create index manifest_labels_label_idx on catalog.manifest_labels (label_id);

create or replace function catalog.forget_project() returns trigger language plpgsql as $$
begin
    delete from catalog.immutable_rules where project_id = new.id;
    delete from catalog.labels where project_id = new.id;
    return null;
end $$;
