-- Rules for the names of new repositories and new tags: one row for the installation (0), and one for each project that
-- has rules of its own. Their expressions are matched by the program, not here: see catalog/src/naming.rs.
create table catalog.naming_policies (
    project_id bigint      primary key check (project_id >= 0),
    -- As given, in their order: [{"target", "pattern", "message", "mode"}].
    rules      jsonb       not null check (jsonb_typeof(rules) = 'array'),
    updated_at timestamptz not null default now()
);

-- What the rules have to judge when these tags are set: the policies in force, those of the tags that are new here, and
-- whether the repository itself is new. Nothing when there are no rules or nothing is new. The caller holds the
-- repository's lock, so that what was new stays new until its transaction ends.
create function catalog.naming(project bigint, repository bigint, first boolean, names text[]) returns jsonb
    language plpgsql as $$
declare
    in_force jsonb;
    fresh    text[];
begin
    select jsonb_object_agg(case p.project_id when 0 then 'installation' else 'project' end, p.rules) into in_force
        from catalog.naming_policies p where p.project_id in (0, project);
    if in_force is null then return null; end if;
    fresh := array(select n.name from unnest(names) as n (name)
                   where not exists (select from catalog.tags t where t.repository_id = repository and t.name = n.name));
    if not first and cardinality(fresh) = 0 then return null; end if;
    return in_force || jsonb_build_object('repository', first, 'tags', fresh);
end $$;

-- As before, and what the naming rules have to judge, in the first row.
drop function catalog.begin_push(bigint, text, bytea[], text[]);
create function catalog.begin_push(project bigint, name text, digests bytea[], tags text[])
    returns table (repository bigint, first boolean, digest bytea, size bigint, live boolean, linked boolean, naming jsonb)
    language plpgsql as $$
declare
    kept  bigint := catalog.keep_repository(project, name);
    never boolean;
    judge jsonb;
begin
    perform from catalog.blobs b where b.digest = any(digests) order by b.digest for key share;
    select r.last_published_at is null into never from catalog.repositories r
        where r.id = kept for no key update;
    if cardinality(tags) > 0 then
        perform catalog.refuse_immutable(project, kept, tags);
    end if;
    judge := catalog.naming(project, kept, never, tags);
    return query
        select kept, never, b.digest, b.size, b.state = 'live', l.digest is not null,
               case when row_number() over () = 1 then judge end
        from (select) as always
        left join catalog.blobs b on b.digest = any(digests)
        left join catalog.repository_blobs l on l.repository_id = kept and l.digest = b.digest;
end $$;

-- What the naming rules have to judge when an artifact is copied with its family and their tags. Takes the locks that
-- `catalog.copy_artifact` takes after it, in the same order.
create function catalog.copy_naming(source bigint, manifest bigint, project bigint, path text) returns jsonb
    language plpgsql as $$
declare
    family bigint[] := array(select catalog.artifact_family(source, manifest));
begin
    return (select p.naming from catalog.begin_push(
        project, path,
        array(select distinct b.digest from catalog.manifest_blobs b where b.manifest_id = any(family)),
        array(select t.name from catalog.tags t where t.manifest_id = any(family))) p
        where p.naming is not null limit 1);
end $$;

-- The rules of a project go with it.
create function catalog.forget_naming_policy() returns trigger language plpgsql as $$
begin
    delete from catalog.naming_policies where project_id = new.id;
    return null;
end $$;
create trigger projects_naming_forgotten after update of deleted_at on tenancy.projects
    for each row when (old.deleted_at is null and new.deleted_at is not null)
    execute function catalog.forget_naming_policy();
