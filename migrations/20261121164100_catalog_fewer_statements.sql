-- What ends an upload and what counts a manifest that was pushed, each in one round trip. Locks are taken in the order
-- of docs/ARCHITECTURE.md: the repository (to keep it), blobs in order of digest, the repository (to change it),
-- project_blobs in order of digest; the quota comes last, by the caller.

-- The repository's row, made when it is the first thing to arrive, and kept from being deleted until the transaction
-- ends: what is acknowledged must not land in a repository that is gone.
create function catalog.keep_repository(project bigint, name text) returns bigint language plpgsql as $$
declare kept bigint;
begin
    loop
        select id into kept from catalog.repositories
            where project_id = project and path = name and deleted_at is null for key share;
        if found then return kept; end if;
        insert into catalog.repositories (project_id, path) values (project, name)
            on conflict do nothing returning id into kept;
        if found then return kept; end if;
        -- Somebody else made it and has committed by now, else we would still be waiting.
    end loop;
end $$;

-- Records durable bytes. A row that is not live takes our key; otherwise another writer was first and ours becomes a
-- dead object. Keys are never reused, so neither can hit the other.
create function catalog.place_blob(blob bytea, bytes bigint, key text) returns void language plpgsql as $$
declare placed text;
begin
    insert into catalog.dead_objects (key)
        select b.location from catalog.blobs b where b.digest = blob and b.state = 'damaged'
        on conflict do nothing;
    insert into catalog.blobs as b (digest, size, location) values (blob, bytes, key)
        on conflict (digest) do update set
            location = case when b.state = 'live' then b.location else excluded.location end,
            size = excluded.size, state = 'live', last_touch = clock_timestamp()
        returning location into placed;
    if placed <> key then
        insert into catalog.dead_objects (key) values (place_blob.key) on conflict do nothing;
    end if;
end $$;

-- Makes the bytes of an upload a blob of the repository and ends the session. Returns the bytes to charge to the
-- project. Refused with HT001 when the session is gone or another writer's.
create function catalog.finish_upload(
    project bigint, name text, blob bytea, bytes bigint, key text, upload uuid, holder uuid
) returns bigint language plpgsql as $$
declare
    repository bigint := catalog.keep_repository(project, name);
    delta      bigint;
begin
    perform catalog.place_blob(blob, bytes, key);
    delta := catalog.link_blob(project, repository, blob, bytes);
    delete from catalog.upload_sessions where id = upload and writer is not distinct from holder;
    if not found then
        raise exception 'the upload has ended or another request writes to it' using errcode = 'HT001';
    end if;
    return delta;
end $$;

-- Counts a manifest that was pushed, and what it names: all of it when the manifest is new or was deleted, `added` when
-- it was there. Returns the bytes to charge to the project.
create function catalog.publish(
    project bigint, repository bigint, manifest bigint, alive_before boolean, added bytea[]
) returns bigint language plpgsql as $$
begin
    update catalog.repositories
        set manifest_count = manifest_count + case when alive_before then 0 else 1 end,
            updated_at = now(), last_published_at = now()
        where id = repository;
    if not alive_before then
        return catalog.reference_manifest(project, manifest);
    end if;
    if cardinality(added) = 0 then
        return 0;
    end if;
    return catalog.reference_blobs(project, added);
end $$;
