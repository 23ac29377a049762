-- Rules that make tags immutable. The patterns as they were given are for display; what decides are anchored regular
-- expressions made from them (catalog/src/glob.rs), without back references, so that matching is linear.
create table catalog.immutable_rules (
    id              bigint generated always as identity primary key,
    project_id      bigint      not null references tenancy.projects (id),
    disabled        boolean     not null default false,
    priority        integer     not null default 0,
    -- As given, in one canonical form: two rules that say the same are one.
    tag_selectors   jsonb       not null,
    scope_selectors jsonb       not null,
    params          jsonb       not null default '{}',
    -- A tag falls under the rule when it matches all of the first and none of the second; likewise the repository's
    -- name without the project.
    tag_matches     text[]      not null,
    tag_excludes    text[]      not null,
    repo_matches    text[]      not null,
    repo_excludes   text[]      not null,
    created_at      timestamptz not null default now()
);
create index immutable_rules_project_idx on catalog.immutable_rules (project_id, id);

-- Whether a tag of the repository with this path may be neither moved nor deleted. Tags that carry signatures of older
-- cosign are exempt: a rule must not keep anybody from signing again.
create function catalog.is_immutable(project bigint, path text, tag text) returns boolean language sql stable as $$
    select exists (
        select 1 from catalog.immutable_rules r
        where r.project_id = project and not r.disabled
          and tag !~ '^sha(256-[0-9a-f]{64}|512-[0-9a-f]{128})[.](sig|att|sbom)$'
          and tag ~ all(r.tag_matches) and tag !~ all(r.tag_excludes)
          and substr(path, strpos(path, '/') + 1) ~ all(r.repo_matches)
          and substr(path, strpos(path, '/') + 1) !~ all(r.repo_excludes))
$$;

-- Refuses with HT004 (the detail is "repository tag") when one of the repository's tags is immutable: of these names,
-- of this manifest, or any at all. The caller holds the repository's lock, so that what was judged stays until its
-- transaction ends. Costs one look at an empty index where there are no rules.
create function catalog.refuse_immutable(project bigint, repository bigint, names text[]) returns void
    language plpgsql as $$
declare found_ record;
begin
    if not exists (select 1 from catalog.immutable_rules where project_id = project and not disabled) then return; end if;
    select r.path, t.name into found_ from catalog.repositories r
        join catalog.tags t on t.repository_id = r.id and t.name = any(names)
        where r.id = repository and catalog.is_immutable(project, r.path, t.name) order by t.name limit 1;
    if found then
        raise exception 'an immutable tag' using errcode = 'HT004', detail = found_.path || ' ' || found_.name;
    end if;
end $$;

create function catalog.refuse_immutable_manifest(project bigint, repository bigint, manifest bigint) returns void
    language sql as $$
    select catalog.refuse_immutable(project, repository,
        (select coalesce(array_agg(name), '{}') from catalog.tags where manifest_id = manifest))
$$;

create function catalog.refuse_immutable_repository(project bigint, repository bigint) returns void
    language plpgsql as $$
declare found_ record;
begin
    if not exists (select 1 from catalog.immutable_rules where project_id = project and not disabled) then return; end if;
    select r.path, t.name into found_ from catalog.repositories r
        join catalog.tags t on t.repository_id = r.id
        where r.id = repository and catalog.is_immutable(project, r.path, t.name) limit 1;
    if found then
        raise exception 'an immutable tag' using errcode = 'HT004', detail = found_.path || ' ' || found_.name;
    end if;
end $$;

-- Takes every lock that the push of a manifest needs but those of its children, and returns the repository, whether it
-- never had a manifest, and what is known of the blobs that the manifest names. One row with nulls when it names
-- nothing that is known. The links are read last, under the repository's lock: one seen before that may be gone.
-- Refuses a push to a tag that is immutable, under the repository's lock, in the transaction that would move the tags.
create function catalog.begin_push(project bigint, name text, digests bytea[], tags text[])
    returns table (repository bigint, first boolean, digest bytea, size bigint, live boolean, linked boolean)
    language plpgsql as $$
declare
    kept  bigint := catalog.keep_repository(project, name);
    never boolean;
begin
    perform from catalog.blobs b where b.digest = any(digests) order by b.digest for key share;
    select r.last_published_at is null into never from catalog.repositories r
        where r.id = kept for no key update;
    if cardinality(tags) > 0 then
        perform catalog.refuse_immutable(project, kept, tags);
    end if;
    return query
        select kept, never, b.digest, b.size, b.state = 'live', l.digest is not null
        from (select) as always
        left join catalog.blobs b on b.digest = any(digests)
        left join catalog.repository_blobs l on l.repository_id = kept and l.digest = b.digest;
end $$;

-- What belongs to a project and to nothing inside it goes with it, in the same transaction.
create function catalog.forget_project() returns trigger language plpgsql as $$
begin
    delete from catalog.immutable_rules where project_id = new.id;
    return null;
end $$;
create trigger projects_forgotten after update of deleted_at on tenancy.projects
    for each row when (old.deleted_at is null and new.deleted_at is not null) execute function catalog.forget_project();
