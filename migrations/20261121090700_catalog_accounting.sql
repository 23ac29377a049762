-- Exact accounting, one function per way that usage can change. Each returns the change of the project's
-- charged bytes, which the caller passes to the quota in the same transaction. Rows are locked in order of
-- digest before they are judged; under READ COMMITTED the lock re-reads the row it waited for.

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

-- A manifest came to life (pushed or restored): its blobs are referenced once more.
create function catalog.reference_manifest(project bigint, manifest bigint) returns bigint language plpgsql as $$
declare delta bigint;
begin
    insert into catalog.project_blobs (project_id, digest, size)
        select project, b.digest, b.size from catalog.manifest_blobs m join catalog.blobs b using (digest)
        where m.manifest_id = manifest order by b.digest
        on conflict do nothing;
    with old as (
        select p.digest, p.size, p.charged from catalog.project_blobs p
        where p.project_id = project
          and p.digest in (select digest from catalog.manifest_blobs where manifest_id = manifest)
        order by p.digest for update
    ), changed as (
        update catalog.project_blobs p set refs = p.refs + 1, charged = true
        from old where p.project_id = project and p.digest = old.digest
    )
    select coalesce(sum(size) filter (where not charged), 0) into delta from old;
    return delta + (select octet_length(payload) from catalog.manifests where id = manifest);
end $$;

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
