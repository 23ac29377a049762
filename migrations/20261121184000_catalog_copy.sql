-- An artifact with all that belongs to it: its parts and what is attached, and theirs.
create function catalog.artifact_family(repository bigint, manifest bigint) returns setof bigint language sql stable as $$
    with recursive family(id, digest) as (
        select id, digest from catalog.manifests
            where id = manifest and repository_id = repository and deleted_at is null
        union
        select m.id, m.digest from family f cross join lateral (
            select a.id, a.digest from catalog.manifests a
                where a.repository_id = repository and a.attached_digest = f.digest and a.deleted_at is null
            union all
            select p.id, p.digest from catalog.manifest_children c
                join catalog.manifests p on p.repository_id = repository and p.digest = c.child_digest
                    and p.deleted_at is null
                where c.parent_id = f.id) m
    )
    select id from family limit 1001
$$;

-- Copies an artifact with all that belongs to it, and their tags, to another repository, without moving a byte. Locks are
-- those of a push in their order. Returns the repository, whether it never had a manifest, and the bytes to charge, which
-- is for the caller to do last. Refused with HT004 for a tag that is immutable there, HT005 for more than 1000 parts,
-- HT006 when something of it is gone.
create function catalog.copy_artifact(
    source bigint, manifest bigint, project bigint, path text,
    actor_kind text, actor_id bigint, actor_name text, client text,
    out repository bigint, out first boolean, out charge bigint
) language plpgsql as $$
declare
    family  bigint[] := array(select catalog.artifact_family(source, manifest));
    digests bytea[]  := array(select distinct b.digest from catalog.manifest_blobs b where b.manifest_id = any(family));
    names   text[]   := array(select t.name from catalog.tags t where t.manifest_id = any(family));
    part    record;
    made    bigint;
    alive   boolean;
    present bigint;
begin
    if cardinality(family) = 0 then raise exception 'the artifact is gone' using errcode = 'HT006'; end if;
    if cardinality(family) > 1000 then raise exception 'too many parts' using errcode = 'HT005'; end if;
    select p.repository, p.first into repository, first from catalog.begin_push(project, path, digests, names) p limit 1;
    select count(*) into present from catalog.blobs b where b.digest = any(digests) and b.state = 'live';
    if present <> cardinality(digests) then raise exception 'a blob is gone' using errcode = 'HT006'; end if;
    charge := 0;
    for part in select b.digest, b.size from catalog.blobs b where b.digest = any(digests) order by b.digest loop
        charge := charge + catalog.link_blob(project, repository, part.digest, part.size);
    end loop;
    perform from catalog.project_blobs u where u.project_id = project and u.digest = any(digests) order by u.digest for update;
    for part in select m.id, m.digest from catalog.manifests m where m.id = any(family) order by m.id loop
        insert into catalog.manifests
            (repository_id, digest, media_type, artifact_type, config_media_type, config_digest, subject_digest, payload,
             total_size, non_distributable, annotations, kind, facts, pushed_by, attached_digest, accessory_kind)
            select copy_artifact.repository, m.digest, m.media_type, m.artifact_type, m.config_media_type, m.config_digest,
                   m.subject_digest, m.payload, m.total_size, m.non_distributable, m.annotations, m.kind, m.facts,
                   actor_name, m.attached_digest, m.accessory_kind
            from catalog.manifests m where m.id = part.id
            on conflict (repository_id, digest) do nothing returning id into made;
        if found then
            alive := false;
            insert into catalog.manifest_blobs (manifest_id, digest, role, size, media_type)
                select made, b.digest, b.role, b.size, b.media_type from catalog.manifest_blobs b where b.manifest_id = part.id;
            insert into catalog.manifest_children
                (parent_id, position, repository_id, child_digest, media_type, size, platform, annotations, urls)
                select made, c.position, copy_artifact.repository, c.child_digest, c.media_type, c.size, c.platform,
                       c.annotations, c.urls
                from catalog.manifest_children c where c.parent_id = part.id;
        else
            select m.id, m.deleted_at is null into made, alive from catalog.manifests m
                where m.repository_id = copy_artifact.repository and m.digest = part.digest for update;
            update catalog.manifests m set deleted_at = null, gc_after = catalog.review_at('manifest_created') where m.id = made;
        end if;
        charge := charge + catalog.publish(project, repository, made, alive, '{}');
    end loop;
    with wanted as (
        select t.name, t.natural_key, t.semver_key, m.digest, n.id as manifest
        from catalog.tags t join catalog.manifests m on m.id = t.manifest_id
        join catalog.manifests n on n.repository_id = copy_artifact.repository and n.digest = m.digest
        where t.manifest_id = any(family)
    ), before as (
        select t.name, m.digest from catalog.tags t join catalog.manifests m on m.id = t.manifest_id
        where t.repository_id = copy_artifact.repository and t.name = any(names)
    ), pushed as (
        insert into catalog.tags as t (repository_id, name, manifest_id, natural_key, semver_key, pushed_by)
        select copy_artifact.repository, w.name, w.manifest, w.natural_key, w.semver_key, actor_name from wanted w order by w.name
        on conflict (repository_id, name) do update set
            manifest_id = excluded.manifest_id, pushed_at = now(), pushed_by = excluded.pushed_by
    )
    insert into catalog.tag_history
        (repository_id, tag, action, from_digest, to_digest, actor_kind, actor_id, actor_name, client)
    select copy_artifact.repository, w.name, case when b.digest is null then 'create' else 'move' end, b.digest, w.digest,
           copy_artifact.actor_kind, copy_artifact.actor_id, copy_artifact.actor_name, copy_artifact.client
    from wanted w left join before b on b.name = w.name
    where b.digest is distinct from w.digest;
end $$;
