-- What an artifact is attached to, however it says so: by its subject, or by a tag of older cosign. And as what.
alter table catalog.manifests
    add column attached_digest bytea,
    add column accessory_kind  text check (accessory_kind in (
        'signature.cosign', 'signature.notation', 'subject.accessory', 'sbom.harbor', 'accelerator.nydus'));

-- The kind by what a manifest says of itself. Only what is a signature is called one: a bundle may as well hold any
-- attestation, and is a signature only if its annotations say so.
create function catalog.accessory_kind(artifact_type text, annotations jsonb) returns text language sql immutable as $$
    select case
        when artifact_type = 'application/vnd.cncf.notary.signature' then 'signature.notation'
        when artifact_type = 'application/vnd.dev.cosign.artifact.sig.v1+json' then 'signature.cosign'
        when artifact_type like 'application/vnd.dev.sigstore.bundle%'
             and (annotations->>'dev.sigstore.bundle.content' = 'message-signature'
                  or annotations->>'dev.sigstore.bundle.predicateType' = 'https://sigstore.dev/cosign/sign/v1')
            then 'signature.cosign'
        when artifact_type = 'application/vnd.goharbor.harbor.sbom.v1' then 'sbom.harbor'
        else 'subject.accessory'
    end
$$;

-- What a tag of older cosign says its manifest is attached to.
create function catalog.cosign_subject(tag text) returns bytea language sql immutable as $$
    select case
        when tag ~ '^sha256-[0-9a-f]{64}[.](sig|att|sbom)$' then '\x01'::bytea || decode(substr(tag, 8, 64), 'hex')
        when tag ~ '^sha512-[0-9a-f]{128}[.](sig|att|sbom)$' then '\x02'::bytea || decode(substr(tag, 8, 128), 'hex')
    end
$$;

-- Of manifests that have a subject this is said when they are inserted; of others when such a tag is put on them.
create function catalog.manifest_attached() returns trigger language plpgsql as $$
begin
    if new.subject_digest is not null then
        new.attached_digest := new.subject_digest;
        new.accessory_kind := catalog.accessory_kind(new.artifact_type, new.annotations);
    end if;
    return new;
end $$;
create trigger manifests_attached before insert on catalog.manifests
    for each row execute function catalog.manifest_attached();

-- A signature is one only if it is of the media type of signatures, whatever its tag says.
create function catalog.tag_attaches() returns trigger language plpgsql as $$
declare
    subject bytea := catalog.cosign_subject(new.name);
begin
    if subject is not null then
        update catalog.manifests m set attached_digest = subject, accessory_kind =
            case when new.name like '%.sig' and exists (
                     select 1 from catalog.manifest_blobs b where b.manifest_id = m.id
                       and b.media_type = 'application/vnd.dev.cosign.simplesigning.v1+json')
                 then 'signature.cosign' else 'subject.accessory' end
            where m.id = new.manifest_id and m.subject_digest is null and m.digest <> subject;
    end if;
    return null;
end $$;
create trigger tags_attach after insert or update of manifest_id on catalog.tags
    for each row when (new.name like 'sha256-%' or new.name like 'sha512-%') execute function catalog.tag_attaches();

update catalog.manifests set attached_digest = subject_digest,
        accessory_kind = catalog.accessory_kind(artifact_type, annotations)
    where subject_digest is not null;
update catalog.manifests m set attached_digest = catalog.cosign_subject(t.name), accessory_kind =
        case when t.name like '%.sig' and exists (
                 select 1 from catalog.manifest_blobs b where b.manifest_id = m.id
                   and b.media_type = 'application/vnd.dev.cosign.simplesigning.v1+json')
             then 'signature.cosign' else 'subject.accessory' end
    from catalog.tags t
    where t.manifest_id = m.id and m.subject_digest is null and catalog.cosign_subject(t.name) is not null;

create index manifests_attached_idx on catalog.manifests (repository_id, attached_digest)
    where attached_digest is not null;

-- Whether a manifest is attached to an artifact of its repository that is there.
create function catalog.is_attached(repository bigint, attached bytea) returns boolean language sql stable as $$
    select exists (select 1 from catalog.manifests s
                   where s.repository_id = repository and s.digest = attached and s.deleted_at is null)
$$;
