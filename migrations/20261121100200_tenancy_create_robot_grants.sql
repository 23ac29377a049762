-- What a robot holds: rights on the installation, in one project, or in every project (project_id is null).
create table tenancy.robot_grants (
    robot_id   bigint not null references identity.robots (id),
    kind       text   not null check (kind in ('system', 'project')),
    project_id bigint references tenancy.projects (id),
    resource   text   not null,
    action     text   not null,
    check (kind = 'project' or project_id is null),
    unique nulls not distinct (robot_id, kind, project_id, resource, action)
);
create index robot_grants_project_id_idx on tenancy.robot_grants (project_id);
