-- Review queues of the online collector (docs/ARCHITECTURE.md). Triggers fill them, so no code path can
-- forget it, and a later event always overwrites an earlier one: an event that arrives while a worker
-- holds the row would be lost otherwise. Digests are touched in order, else bulk deletes deadlock.

create table catalog.review_delays (
    event text     primary key,
    delay interval not null
);
insert into catalog.review_delays values
    ('blob_created', '1 day'), ('manifest_created', '1 day'), ('manifest_deleted', '1 day'),
    ('child_removed', '1 day'), ('tag_removed', '1 day'), ('blob_unlinked', '1 day');

create function catalog.review_at(event text) returns timestamptz language sql volatile as $$
    select now() + delay + make_interval(secs => 5 + random() * 55)
    from catalog.review_delays d where d.event = review_at.event
$$;

create function catalog.blob_created() returns trigger language plpgsql as $$
begin
    new.gc_after := catalog.review_at('blob_created');
    return new;
end $$;
create trigger blobs_review before insert on catalog.blobs for each row execute function catalog.blob_created();

create function catalog.manifest_created() returns trigger language plpgsql as $$
begin
    new.gc_after := catalog.review_at('manifest_created');
    return new;
end $$;
create trigger manifests_review before insert on catalog.manifests
    for each row execute function catalog.manifest_created();

create function catalog.review_blobs(digests bytea[], event text) returns void language plpgsql as $$
begin
    update catalog.blobs b set gc_after = catalog.review_at(event)
    from (select digest from catalog.blobs where digest = any(digests) order by digest for no key update) d
    where b.digest = d.digest;
end $$;

create function catalog.review_manifests(repository bigint, digests bytea[], event text) returns void language plpgsql as $$
begin
    update catalog.manifests m set gc_after = catalog.review_at(event)
    from (select id from catalog.manifests
          where repository_id = repository and digest = any(digests) order by digest for no key update) d
    where m.id = d.id;
end $$;

create function catalog.manifest_blobs_removed() returns trigger language plpgsql as $$
begin
    perform catalog.review_blobs((select array_agg(distinct digest) from gone), 'manifest_deleted');
    return null;
end $$;
create trigger manifest_blobs_review after delete on catalog.manifest_blobs
    referencing old table as gone for each statement execute function catalog.manifest_blobs_removed();

create function catalog.repository_blobs_removed() returns trigger language plpgsql as $$
begin
    perform catalog.review_blobs((select array_agg(distinct digest) from gone), 'blob_unlinked');
    return null;
end $$;
create trigger repository_blobs_review after delete on catalog.repository_blobs
    referencing old table as gone for each statement execute function catalog.repository_blobs_removed();

create function catalog.manifest_children_removed() returns trigger language plpgsql as $$
declare one record;
begin
    for one in select repository_id, array_agg(distinct child_digest) as digests from gone
               group by repository_id order by repository_id loop
        perform catalog.review_manifests(one.repository_id, one.digests, 'child_removed');
    end loop;
    return null;
end $$;
create trigger manifest_children_review after delete on catalog.manifest_children
    referencing old table as gone for each statement execute function catalog.manifest_children_removed();

-- Referrers of a manifest that is gone, and what a tag named before it was removed or moved.
create function catalog.manifests_removed() returns trigger language plpgsql as $$
begin
    update catalog.manifests m set gc_after = catalog.review_at('manifest_deleted')
    from (select r.id from gone g
          join catalog.manifests r on r.repository_id = g.repository_id and r.subject_digest = g.digest
          order by r.repository_id, r.digest for no key update of r) d
    where m.id = d.id;
    return null;
end $$;
create trigger manifests_referrers_review after delete on catalog.manifests
    referencing old table as gone for each statement execute function catalog.manifests_removed();

-- A soft delete schedules the manifest itself; its blobs and children follow when the row goes.
create function catalog.manifest_soft_deleted() returns trigger language plpgsql as $$
begin
    new.gc_after := catalog.review_at('manifest_deleted');
    return new;
end $$;
create trigger manifests_soft_delete_review before update of deleted_at on catalog.manifests
    for each row when (new.deleted_at is not null and old.deleted_at is null)
    execute function catalog.manifest_soft_deleted();

create function catalog.tags_removed() returns trigger language plpgsql as $$
begin
    update catalog.manifests m set gc_after = catalog.review_at('tag_removed')
    from (select id from catalog.manifests
          where id in (select manifest_id from gone) order by repository_id, digest for no key update) d
    where m.id = d.id;
    return null;
end $$;
create trigger tags_removed_review after delete on catalog.tags
    referencing old table as gone for each statement execute function catalog.tags_removed();

create function catalog.tag_moved() returns trigger language plpgsql as $$
begin
    update catalog.manifests set gc_after = catalog.review_at('tag_removed') where id = old.manifest_id;
    return null;
end $$;
create trigger tags_moved_review after update of manifest_id on catalog.tags
    for each row when (old.manifest_id <> new.manifest_id) execute function catalog.tag_moved();
