-- What the online collector asks for (docs/ARCHITECTURE.md, Garbage collection).

-- When a manifest lost a tag for the last time: a policy about untagged artifacts counts from there.
alter table catalog.manifests add column untagged_at timestamptz;
-- Nobody noted it so far: the time of what has no tag today begins today.
update catalog.manifests m set untagged_at = now()
    where m.deleted_at is null and not exists (select 1 from catalog.tags t where t.manifest_id = m.id);

create or replace function catalog.tags_removed() returns trigger language plpgsql as $$
begin
    update catalog.manifests m set gc_after = catalog.review_at('tag_removed'), untagged_at = now()
    from (select id from catalog.manifests
          where id in (select manifest_id from gone) order by repository_id, digest for no key update) d
    where m.id = d.id;
    return null;
end $$;

create or replace function catalog.tag_moved() returns trigger language plpgsql as $$
begin
    update catalog.manifests set gc_after = catalog.review_at('tag_removed'), untagged_at = now()
        where id = old.manifest_id;
    return null;
end $$;

-- What is attached by a tag or an annotation goes after what it is attached to, like what names a subject.
create or replace function catalog.manifests_removed() returns trigger language plpgsql as $$
begin
    update catalog.manifests m set gc_after = catalog.review_at('manifest_deleted')
    from (select r.id from gone g
          join catalog.manifests r on r.repository_id = g.repository_id and r.attached_digest = g.digest
          order by r.repository_id, r.digest for no key update of r) d
    where m.id = d.id;
    return null;
end $$;

-- A blob that the collector has keeps its place in the collector's queue.
create or replace function catalog.review_blobs(digests bytea[], event text) returns void language plpgsql as $$
begin
    update catalog.blobs b set gc_after = catalog.review_at(event)
    from (select digest from catalog.blobs where digest = any(digests) order by digest for no key update) d
    where b.digest = d.digest and b.state <> 'deleting';
end $$;

-- As before; a row that comes to life again is reviewed like a new one, not when the collector would have come.
create or replace function catalog.place_blob(blob bytea, bytes bigint, key text) returns void language plpgsql as $$
declare placed text;
begin
    insert into catalog.dead_objects (key)
        select b.location from catalog.blobs b where b.digest = blob and b.state = 'damaged'
        on conflict do nothing;
    insert into catalog.blobs as b (digest, size, location) values (blob, bytes, key)
        on conflict (digest) do update set
            location = case when b.state = 'live' then b.location else excluded.location end,
            gc_after = case when b.state = 'live' then b.gc_after else excluded.gc_after end,
            size = excluded.size, state = 'live', last_touch = clock_timestamp()
        returning location into placed;
    if placed <> key then
        insert into catalog.dead_objects (key) values (place_blob.key) on conflict do nothing;
    end if;
end $$;

-- When a manifest may go for good if nothing else keeps it; infinity while it has a tag. `grace` is the promise made to
-- clients that were told "exists"; `untagged_days`, when it is given, overrides every project's policy about untagged
-- artifacts, and what was pulled lately.
create function catalog.manifest_own_due(
    manifest bigint, grace interval, untagged_days_default integer, pulled_days integer, untagged_days integer
) returns timestamptz language sql stable as $$
    select case
        when r.deleted_at is not null then greatest(r.deleted_at, m.deleted_at) + grace
        when m.deleted_at is not null then m.deleted_at + greatest(grace, catalog.restore_window())
        when exists (select 1 from catalog.tags t where t.manifest_id = m.id) then 'infinity'::timestamptz
        when manifest_own_due.untagged_days is not null
            then greatest(m.pushed_at, m.untagged_at) + greatest(grace, make_interval(days => manifest_own_due.untagged_days))
        when policy.days is null then 'infinity'::timestamptz
        else greatest(
            m.pushed_at + greatest(grace, make_interval(days => policy.days)),
            -- A tag that was moved or deleted can be brought back as long as what was deleted itself.
            m.untagged_at + greatest(grace, make_interval(days => policy.days), catalog.restore_window()),
            (select l.last_pulled_at
                    + greatest(grace, make_interval(days => case when policy.days = 0 then 0 else pulled_days end))
             from catalog.manifest_pulls l where l.manifest_id = m.id))
    end
    from catalog.manifests m
    join catalog.repositories r on r.id = m.repository_id
    join tenancy.projects p on p.id = r.project_id
    cross join lateral (
        select case
            when p.metadata->>'untagged_days' = 'keep' then null
            when p.metadata->>'untagged_days' ~ '^[0-9]{1,4}$' then (p.metadata->>'untagged_days')::integer
            else nullif(untagged_days_default, -1)
        end as days
    ) policy
    where m.id = manifest
$$;

-- What keeps a manifest: indexes it is part of, whether they are here or can be restored, and what it is attached to, unless
-- it was deleted by itself. The other direction does not hold: an image and its signature would keep each other for ever.
create function catalog.manifest_keepers(manifest bigint) returns setof bigint language sql stable as $$
    select c.parent_id from catalog.manifests m
        join catalog.repositories r on r.id = m.repository_id and r.deleted_at is null
        join catalog.manifest_children c on c.repository_id = m.repository_id and c.child_digest = m.digest
        where m.id = manifest
    union all
    select s.id from catalog.manifests m
        join catalog.repositories r on r.id = m.repository_id and r.deleted_at is null
        join catalog.manifests s on s.repository_id = m.repository_id and s.digest = m.attached_digest
        where m.id = manifest and m.deleted_at is null and s.id <> m.id
$$;

-- When a manifest may go for good; infinity while something keeps it. The collector's one question.
create function catalog.manifest_due(
    manifest bigint, grace interval, untagged_days_default integer, pulled_days integer, untagged_days integer
) returns timestamptz language sql stable as $$
    select case
        when exists (select from catalog.manifest_keepers(manifest)) then 'infinity'::timestamptz
        else catalog.manifest_own_due(manifest, grace, untagged_days_default, pulled_days, untagged_days)
    end
$$;

-- Whether a manifest would be gone at the end of a run, which removes what keeps it before it. For dry runs. Ends, because
-- what keeps something names its digest, or is named by it.
create function catalog.manifest_goes(
    manifest bigint, grace interval, untagged_days_default integer, pulled_days integer, untagged_days integer
) returns boolean language plpgsql stable as $$
begin
    if catalog.manifest_own_due(manifest, grace, untagged_days_default, pulled_days, untagged_days) > now() then
        return false;
    end if;
    return not exists (
        select from catalog.manifest_keepers(manifest) as k (id)
        where not catalog.manifest_goes(k.id, grace, untagged_days_default, pulled_days, untagged_days));
end $$;

-- Removes manifests of a locked repository for good and returns the (negative) change of the project's charged bytes.
-- What was not deleted by anybody is taken out of the counts on the way.
create function catalog.purge_manifests(project bigint, holder bigint, doomed bigint[]) returns bigint
    language plpgsql as $$
declare
    one   record;
    delta bigint := 0;
    alive bigint := 0;
begin
    -- What these used is reviewed by triggers below, and an upload takes a blob before the project's account.
    perform from catalog.blobs b
        where b.digest in (select u.digest from catalog.manifest_blobs u where u.manifest_id = any(doomed))
        order by b.digest for no key update;
    for one in select m.id from catalog.manifests m
               where m.id = any(doomed) and m.deleted_at is null order by m.digest loop
        delta := delta + catalog.unreference_manifest(project, one.id);
        alive := alive + 1;
    end loop;
    if alive > 0 then
        update catalog.manifests set deleted_at = now() where id = any(doomed) and deleted_at is null;
        update catalog.repositories set manifest_count = manifest_count - alive where id = holder;
    end if;
    delete from catalog.manifests where id = any(doomed);
    return delta;
end $$;

-- Whether a link may go: its blob is the collector's, or no manifest of its repository needs it and nobody was promised it
-- within the grace.
create function catalog.is_stale(repository bigint, blob bytea, linked_at timestamptz, grace interval) returns boolean
    language sql stable as $$
    select b.state = 'deleting'
        or is_stale.linked_at < now() - grace and b.last_touch < now() - grace
           and not exists (select 1 from catalog.manifest_blobs u join catalog.manifests m on m.id = u.manifest_id
                           where u.digest = blob and m.repository_id = is_stale.repository)
    from catalog.blobs b where b.digest = blob
$$;

-- Removes stale links of these blobs. Takes the repositories before the blobs, like everybody who changes both. Returns
-- the change of charged bytes for each project.
create function catalog.prune_links(digests bytea[], grace interval) returns table (project bigint, delta bigint)
    language plpgsql as $$
declare held bytea[];
begin
    perform from catalog.repositories r
        where r.id in (select l.repository_id from catalog.repository_blobs l
                       where l.digest = any(digests) and catalog.is_stale(l.repository_id, l.digest, l.linked_at, grace))
        order by r.id for no key update;
    select array_agg(b.digest) into held from (
        select digest from catalog.blobs where digest = any(digests) order by digest for update skip locked
    ) b;
    -- A statement of its own: what is judged here is judged with the rows held.
    return query
        select l.project_id, sum(l.change)::bigint from (
            select s.project_id, catalog.unlink_blob(s.project_id, s.repository_id, s.digest) as change from (
                select r.project_id, l.repository_id, l.digest from catalog.repository_blobs l
                join catalog.repositories r on r.id = l.repository_id
                where l.digest = any(held) and catalog.is_stale(l.repository_id, l.digest, l.linked_at, grace)
                order by r.project_id, l.digest, l.repository_id
            ) s
        ) l group by l.project_id order by l.project_id;
end $$;

-- Looking early costs a look, and what was deleted may be due already: what it used was not promised to anybody since.
update catalog.review_delays set delay = '0' where event in ('manifest_deleted', 'child_removed', 'blob_unlinked');

create index repositories_deleted_idx on catalog.repositories (deleted_at) where deleted_at is not null;
