-- What lists show, and how much of it there is, kept in the rows: to ask of every row of a large repository whether it
-- is hidden took longer than everything else about a page.
--
-- A manifest is hidden while it is attached to an artifact that is here, or a part of an index that is here and without
-- a tag. A tag is hidden with its manifest: tags of signatures are no tags to people. Whatever changes tags, manifests
-- or parts holds the repository's row, so the counters in it are exact.
alter table catalog.manifests
    add column hidden     boolean not null default false,
    add column project_id bigint;
alter table catalog.tags
    add column hidden     boolean not null default false,
    add column project_id bigint;
alter table catalog.repositories
    -- Manifests that are neither deleted nor hidden, and tags that are not hidden.
    add column artifact_count bigint not null default 0,
    add column tag_count      bigint not null default 0;

update catalog.manifests m set project_id = r.project_id, hidden = m.deleted_at is null and (
        m.attached_digest is not null and catalog.is_attached(m.repository_id, m.attached_digest)
        or not exists (select 1 from catalog.tags t where t.manifest_id = m.id)
           and exists (select 1 from catalog.manifest_children c
                       join catalog.manifests i on i.id = c.parent_id and i.deleted_at is null
                       where c.repository_id = m.repository_id and c.child_digest = m.digest))
    from catalog.repositories r where r.id = m.repository_id;
update catalog.tags t set project_id = m.project_id, hidden = m.hidden
    from catalog.manifests m where m.id = t.manifest_id;
update catalog.repositories r set
    artifact_count = (select count(*) from catalog.manifests m
                      where m.repository_id = r.id and m.deleted_at is null and not m.hidden),
    tag_count = (select count(*) from catalog.tags t where t.repository_id = r.id and not t.hidden);
alter table catalog.manifests alter column project_id set not null;
alter table catalog.tags alter column project_id set not null;

-- The orders that lists have, of what they show.
drop index catalog.manifests_list_idx;
create index manifests_list_idx on catalog.manifests (repository_id, pushed_at desc, id desc)
    where deleted_at is null and not hidden;
create index manifests_project_idx on catalog.manifests (project_id, pushed_at desc, id desc)
    where deleted_at is null and not hidden;
drop index catalog.tags_pushed_idx;
create index tags_pushed_idx on catalog.tags (repository_id, pushed_at desc, id desc) where not hidden;
create index tags_project_idx on catalog.tags (project_id, pushed_at desc, id desc) where not hidden;
drop index catalog.tags_natural_idx;
create index tags_natural_idx on catalog.tags (repository_id, natural_key) where not hidden;
drop index catalog.tags_semver_idx;
-- What is no version sorts below every version.
create index tags_semver_idx on catalog.tags (repository_id, coalesce(semver_key, '')) where not hidden;

-- Judges these manifests and their tags again.
create function catalog.judge_hidden(manifests bigint[]) returns void language plpgsql as $$
begin
    with judged as (
        select m.id, m.hidden, m.attached_digest is not null and catalog.is_attached(m.repository_id, m.attached_digest)
               or not exists (select 1 from catalog.tags t where t.manifest_id = m.id)
                  and exists (select 1 from catalog.manifest_children c
                              join catalog.manifests i on i.id = c.parent_id and i.deleted_at is null
                              where c.repository_id = m.repository_id and c.child_digest = m.digest) as hides
        from catalog.manifests m where m.id = any(manifests) and m.deleted_at is null
    )
    update catalog.manifests m set hidden = j.hides from judged j where m.id = j.id and j.hidden <> j.hides;
    with changed as (
        update catalog.tags t set hidden = m.hidden from catalog.manifests m
            where t.manifest_id = any(manifests) and m.id = t.manifest_id and t.hidden <> m.hidden
            returning t.repository_id, t.hidden
    )
    update catalog.repositories r set tag_count = r.tag_count + d.delta
        from (select repository_id, sum(case when changed.hidden then -1 else 1 end) as delta from changed group by 1) d
        where r.id = d.repository_id;
end $$;

create or replace function catalog.manifest_attached() returns trigger language plpgsql as $$
begin
    if new.subject_digest is not null then
        new.attached_digest := new.subject_digest;
        new.accessory_kind := catalog.accessory_kind(new.artifact_type, new.annotations);
    end if;
    select r.project_id into new.project_id from catalog.repositories r where r.id = new.repository_id;
    new.hidden := new.attached_digest is not null and catalog.is_attached(new.repository_id, new.attached_digest)
        or exists (select 1 from catalog.manifest_children c
                   join catalog.manifests i on i.id = c.parent_id and i.deleted_at is null
                   where c.repository_id = new.repository_id and c.child_digest = new.digest);
    return new;
end $$;

-- New manifests count, and what was pushed before them and is attached to them is hidden from now on.
create function catalog.manifests_made() returns trigger language plpgsql as $$
declare attached bigint[];
begin
    update catalog.repositories r set artifact_count = r.artifact_count + d.shown
        from (select repository_id, count(*) as shown from made where deleted_at is null and not hidden group by 1) d
        where r.id = d.repository_id;
    select array_agg(m.id) into attached from made n
        join catalog.manifests m on m.repository_id = n.repository_id and m.attached_digest = n.digest;
    if attached is not null then perform catalog.judge_hidden(attached); end if;
    return null;
end $$;
create trigger manifests_made after insert on catalog.manifests
    referencing new table as made for each statement execute function catalog.manifests_made();

-- Manifests that are deleted, come back, are attached or hidden: they count, and so does what depends on them.
create function catalog.manifests_changed() returns trigger language plpgsql as $$
declare affected bigint[];
begin
    update catalog.repositories r set artifact_count = r.artifact_count + d.shown
        from (select n.repository_id, sum((n.deleted_at is null and not n.hidden)::integer
                                          - (o.deleted_at is null and not o.hidden)::integer) as shown
              from after_ n join before_ o on o.id = n.id
              where (n.deleted_at is null and not n.hidden) <> (o.deleted_at is null and not o.hidden) group by 1) d
        where r.id = d.repository_id and d.shown <> 0;
    with changed as (
        select n.id, n.repository_id, n.digest, n.deleted_at from after_ n join before_ o on o.id = n.id
        where (n.deleted_at is null) <> (o.deleted_at is null)
           or n.attached_digest is distinct from o.attached_digest
    )
    select array_agg(id) into affected from (
        select id from changed where deleted_at is null
        union select m.id from changed c
            join catalog.manifests m on m.repository_id = c.repository_id and m.attached_digest = c.digest
        union select m.id from changed c join catalog.manifest_children p on p.parent_id = c.id
            join catalog.manifests m on m.repository_id = p.repository_id and m.digest = p.child_digest
    ) as any_of_these;
    if affected is not null then perform catalog.judge_hidden(affected); end if;
    return null;
end $$;
create trigger manifests_changed after update on catalog.manifests
    referencing old table as before_ new table as after_ for each statement execute function catalog.manifests_changed();

create function catalog.children_made() returns trigger language plpgsql as $$
declare parts bigint[];
begin
    select array_agg(m.id) into parts from made n
        join catalog.manifests m on m.repository_id = n.repository_id and m.digest = n.child_digest;
    if parts is not null then perform catalog.judge_hidden(parts); end if;
    return null;
end $$;
create trigger children_made after insert on catalog.manifest_children
    referencing new table as made for each statement execute function catalog.children_made();

create function catalog.tag_of_project() returns trigger language plpgsql as $$
begin
    select r.project_id into new.project_id from catalog.repositories r where r.id = new.repository_id;
    return new;
end $$;
create trigger tags_of_project before insert on catalog.tags
    for each row execute function catalog.tag_of_project();

create function catalog.tags_made() returns trigger language plpgsql as $$
begin
    update catalog.repositories r set tag_count = r.tag_count + d.shown
        from (select repository_id, count(*) as shown from made where not hidden group by 1) d
        where r.id = d.repository_id;
    perform catalog.judge_hidden(array(select distinct manifest_id from made));
    return null;
end $$;
create trigger tags_made after insert on catalog.tags
    referencing new table as made for each statement execute function catalog.tags_made();

-- Attaches a manifest as a tag of older cosign says. A signature is one only if it is of the media type of signatures,
-- whatever its tag says.
create function catalog.attach_by_tag(manifest bigint, tag text) returns void language sql as $$
    update catalog.manifests m set attached_digest = catalog.cosign_subject(tag), accessory_kind =
        case when tag like '%.sig' and exists (
                 select 1 from catalog.manifest_blobs b where b.manifest_id = m.id
                   and b.media_type = 'application/vnd.dev.cosign.simplesigning.v1+json')
             then 'signature.cosign' else 'subject.accessory' end
        where m.id = manifest and m.subject_digest is null and m.digest <> catalog.cosign_subject(tag)
$$;

create or replace function catalog.tag_attaches() returns trigger language plpgsql as $$
begin
    perform catalog.attach_by_tag(new.manifest_id, new.name);
    return null;
end $$;

-- A manifest that a tag of older cosign attached, and nothing else did, is an artifact like others without that tag.
create function catalog.tags_left(manifests bigint[]) returns void language plpgsql as $$
declare loose bigint[];
begin
    with changed as (
        update catalog.manifests m set attached_digest = null, accessory_kind = null
        where m.id = any(manifests) and m.subject_digest is null and m.attached_digest is not null
          and not exists (select 1 from catalog.tags t
                          where t.manifest_id = m.id and catalog.cosign_subject(t.name) = m.attached_digest)
        returning m.id
    )
    select array_agg(id) into loose from changed;
    if loose is not null then
        perform catalog.attach_by_tag(t.manifest_id, t.name) from catalog.tags t
            where t.manifest_id = any(loose) and catalog.cosign_subject(t.name) is not null;
    end if;
    perform catalog.judge_hidden(manifests);
end $$;

create function catalog.tag_repointed() returns trigger language plpgsql as $$
begin
    perform catalog.tags_left(array[old.manifest_id]);
    perform catalog.judge_hidden(array[new.manifest_id]);
    return null;
end $$;
create trigger tags_repointed after update of manifest_id on catalog.tags
    for each row when (old.manifest_id <> new.manifest_id) execute function catalog.tag_repointed();

create function catalog.tags_gone() returns trigger language plpgsql as $$
begin
    update catalog.repositories r set tag_count = r.tag_count - d.shown
        from (select repository_id, count(*) as shown from gone where not hidden group by 1) d
        where r.id = d.repository_id;
    perform catalog.tags_left(array(select distinct manifest_id from gone));
    return null;
end $$;
create trigger tags_gone after delete on catalog.tags
    referencing old table as gone for each statement execute function catalog.tags_gone();

-- A deleted manifest with what was attached to it and deleted in the same transaction.
create function catalog.deleted_with(manifest bigint) returns setof bigint language sql stable as $$
    with recursive family as (
        select m.id, m.repository_id, m.digest, m.deleted_at from catalog.manifests m where m.id = manifest
        union
        select a.id, a.repository_id, a.digest, a.deleted_at from family f cross join lateral (
            select m.* from catalog.manifests m
                where m.repository_id = f.repository_id and m.subject_digest = f.digest and m.deleted_at = f.deleted_at
            union all
            select m.* from catalog.tag_history h
                join catalog.manifests m on m.repository_id = h.repository_id and m.digest = h.from_digest
                where h.repository_id = f.repository_id and h.action = 'delete' and h.at = f.deleted_at
                  and h.tag in (select replace(catalog.digest_text(f.digest), ':', '-') || form
                                from unnest(array['.sig', '.att', '.sbom']) as form)
                  and m.deleted_at = f.deleted_at) a
    )
    select id from family limit 1001
$$;
