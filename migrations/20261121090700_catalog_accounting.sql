-- Exact accounting, one function per way that usage can change. Each returns the change of the project's
-- charged bytes, which the caller passes to the quota in the same transaction. Rows are locked in order of
-- digest before they are judged; under READ COMMITTED the lock re-reads the row it waited for. The order among
-- tables is repositories, blobs, project_blobs, quota: whoever needs two of them takes them in that order.

-- Links a blob to a repository (upload finished, mount, manifest push of a blob linked elsewhere).
create function catalog.link_blob(project bigint, repository bigint, blob bytea, bytes bigint)
    returns bigint language plpgsql as $$
declare
    fresh boolean;
    delta bigint := 0;
    row_  catalog.project_blobs;
begin
    insert into catalog.repository_blobs (repository_id, digest, size) values (repository, blob, bytes)
        on conflict do nothing;
    get diagnostics fresh = row_count;
    if not fresh then
        -- A blob whose last manifest was deleted is charged again when somebody uploads it anew.
        update catalog.project_blobs set charged = true
            where project_id = project and digest = blob and not charged;
        if found then delta := bytes; end if;
        return delta;
    end if;
    update catalog.repositories set size_bytes = size_bytes + bytes where id = repository;
    insert into catalog.project_blobs (project_id, digest, size) values (project, blob, bytes)
        on conflict do nothing;
    select * into row_ from catalog.project_blobs where project_id = project and digest = blob for update;
    if not row_.charged then delta := bytes; end if;
    update catalog.project_blobs set links = links + 1, charged = true
        where project_id = project and digest = blob;
    return delta;
end $$;

-- Removes the link. The charge goes with the last link, unless a live manifest of the project needs it.
create function catalog.unlink_blob(project bigint, repository bigint, blob bytea)
    returns bigint language plpgsql as $$
declare
    bytes bigint;
    row_  catalog.project_blobs;
begin
    delete from catalog.repository_blobs where repository_id = repository and digest = blob returning size into bytes;
    if not found then return null; end if;
    update catalog.repositories set size_bytes = size_bytes - bytes where id = repository;
    select * into row_ from catalog.project_blobs where project_id = project and digest = blob for update;
    if row_.links <= 1 and row_.refs <= 0 then
        delete from catalog.project_blobs where project_id = project and digest = blob;
        return case when row_.charged then -bytes else 0 end;
    end if;
    update catalog.project_blobs set links = links - 1 where project_id = project and digest = blob;
    return 0;
end $$;

-- Blobs of a live manifest are referenced once more.
create function catalog.reference_blobs(project bigint, digests bytea[]) returns bigint language plpgsql as $$
declare delta bigint;
begin
    insert into catalog.project_blobs (project_id, digest, size)
        select project, b.digest, b.size from catalog.blobs b
        where b.digest = any(digests) order by b.digest
        on conflict do nothing;
    with old as (
        select p.digest, p.size, p.charged from catalog.project_blobs p
        where p.project_id = project and p.digest = any(digests)
        order by p.digest for update
    ), changed as (
        update catalog.project_blobs p set refs = p.refs + 1, charged = true
        from old where p.project_id = project and p.digest = old.digest
    )
    select coalesce(sum(size) filter (where not charged), 0) into delta from old;
    return delta;
end $$;

-- A manifest came to life (pushed or restored), with all that it names.
create function catalog.reference_manifest(project bigint, manifest bigint) returns bigint language sql as $$
    select catalog.reference_blobs(project, (select array_agg(digest) from catalog.manifest_blobs where manifest_id = manifest))
         + (select octet_length(payload) from catalog.manifests where id = manifest)
$$;

-- A manifest is deleted (softly or for good): what only it used is not charged any more. The links stay, so
-- a client that was told "exists" can still push; the collector takes them later.
create function catalog.unreference_manifest(project bigint, manifest bigint) returns bigint language plpgsql as $$
declare delta bigint;
begin
    with old as (
        select p.digest, p.size, p.charged, p.refs from catalog.project_blobs p
        where p.project_id = project
          and p.digest in (select digest from catalog.manifest_blobs where manifest_id = manifest)
        order by p.digest for update
    ), changed as (
        update catalog.project_blobs p set refs = p.refs - 1, charged = p.charged and p.refs > 1
        from old where p.project_id = project and p.digest = old.digest
    )
    select coalesce(sum(size) filter (where charged and refs <= 1), 0) into delta from old;
    return -delta - (select octet_length(payload) from catalog.manifests where id = manifest);
end $$;

-- A repository is deleted as a whole: its tags go, its manifests are deleted softly, and what only it used is
-- not charged any more. Set-based, whatever it holds.
create function catalog.release_repository(project bigint, repository bigint) returns bigint language plpgsql as $$
declare
    payloads bigint;
    blobs    bigint;
begin
    -- The links' removal will touch these (review queue), after rows that an upload takes later than them.
    perform from catalog.blobs b
        where b.digest in (select l.digest from catalog.repository_blobs l where l.repository_id = repository)
        order by b.digest for no key update;
    delete from catalog.tags where repository_id = repository;
    with used as (
        select mb.digest, count(*)::integer as times
        from catalog.manifests m join catalog.manifest_blobs mb on mb.manifest_id = m.id
        where m.repository_id = repository and m.deleted_at is null
        group by mb.digest
    ), touched as (
        select digest from used
        union select digest from catalog.repository_blobs where repository_id = repository
    ), old as (
        select p.digest, p.size, p.charged, p.refs - coalesce(u.times, 0) as refs_left,
               p.links - case when l.digest is null then 0 else 1 end as links_left
        from catalog.project_blobs p
        join touched t on t.digest = p.digest
        left join used u on u.digest = p.digest
        left join catalog.repository_blobs l on l.repository_id = repository and l.digest = p.digest
        where p.project_id = project order by p.digest for update of p
    ), judged as (
        -- Charged still: used by a live manifest elsewhere, or only waiting for one in another repository.
        select *, charged and (refs_left > 0 or links_left > 0 and not exists (select 1 from used where used.digest = old.digest))
                  as stays from old
    ), changed as (
        update catalog.project_blobs p set refs = j.refs_left, links = j.links_left, charged = j.stays
        from judged j where p.project_id = project and p.digest = j.digest
    )
    select coalesce(sum(size) filter (where charged and not stays), 0) into blobs from judged;
    with gone as (
        update catalog.manifests set deleted_at = now()
        where repository_id = repository and deleted_at is null returning octet_length(payload) as bytes
    )
    select coalesce(sum(bytes), 0) into payloads from gone;
    -- The links go as well: they count, and nobody can use them.
    delete from catalog.repository_blobs where repository_id = repository;
    update catalog.repositories set manifest_count = 0, size_bytes = 0 where id = repository;
    return -(blobs + payloads);
end $$;
