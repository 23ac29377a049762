-- An image that was converted to be pulled lazily names in an annotation what it was made from, and marks the layer that
-- its file system starts from: it is attached to the other. The layers' annotations stand in the payload only. A value is
-- compared as JSON, because text could hold what PostgreSQL has no character for.
create function catalog.nydus_source(payload bytea, annotations jsonb) returns bytea language sql immutable as $$
    select case
        when not exists (
            select 1 from json_array_elements(
                case when json_typeof(m.body->'layers') = 'array' then m.body->'layers' end) l
            where (l->'annotations'->'containerd.io/snapshot/nydus-bootstrap')::text = '"true"') then null
        when m.source ~ '^sha256:[0-9a-f]{64}$' then '\x01'::bytea || decode(substr(m.source, 8), 'hex')
        when m.source ~ '^sha512:[0-9a-f]{128}$' then '\x02'::bytea || decode(substr(m.source, 8), 'hex')
    end
    from (select convert_from(payload, 'UTF8')::json as body,
                 annotations->>'io.goharbor.artifact.v1alpha1.acceleration.source.digest' as source) m
$$;

-- Before manifests_attached, which judges whether the manifest is hidden and whose word about a subject stands.
create function catalog.manifest_accelerates() returns trigger language plpgsql as $$
declare
    source bytea := catalog.nydus_source(new.payload, new.annotations);
begin
    if source <> new.digest and new.subject_digest is null then
        new.attached_digest := source;
        new.accessory_kind := 'accelerator.nydus';
    end if;
    return new;
end $$;
create trigger manifests_accelerate before insert on catalog.manifests
    for each row when (new.annotations ? 'io.goharbor.artifact.v1alpha1.acceleration.source.digest')
    execute function catalog.manifest_accelerates();

-- As before, but what a manifest says itself stays when it loses a tag.
create or replace function catalog.tags_left(manifests bigint[]) returns void language plpgsql as $$
declare loose bigint[];
begin
    with changed as (
        update catalog.manifests m set attached_digest = null, accessory_kind = null
        where m.id = any(manifests) and m.subject_digest is null and m.attached_digest is not null
          and m.accessory_kind is distinct from 'accelerator.nydus'
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

-- As before, with what says in an annotation what it is attached to.
create or replace function catalog.deleted_with(manifest bigint) returns setof bigint language sql stable as $$
    with recursive family as (
        select m.id, m.repository_id, m.digest, m.deleted_at from catalog.manifests m where m.id = manifest
        union
        select a.id, a.repository_id, a.digest, a.deleted_at from family f cross join lateral (
            select m.* from catalog.manifests m
                where m.repository_id = f.repository_id and m.subject_digest = f.digest and m.deleted_at = f.deleted_at
            union all
            select m.* from catalog.manifests m
                where m.repository_id = f.repository_id and m.attached_digest = f.digest
                  and m.accessory_kind = 'accelerator.nydus' and m.subject_digest is null
                  and m.deleted_at = f.deleted_at
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

update catalog.manifests
    set attached_digest = catalog.nydus_source(payload, annotations), accessory_kind = 'accelerator.nydus'
    where annotations ? 'io.goharbor.artifact.v1alpha1.acceleration.source.digest'
      and subject_digest is null and catalog.nydus_source(payload, annotations) <> digest;
