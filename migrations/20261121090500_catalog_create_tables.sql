create schema catalog;

create table catalog.repositories (
    id                bigint generated always as identity primary key,
    project_id        bigint      not null references tenancy.projects (id),
    path              text collate "C" not null check (length(path) between 3 and 255),
    description       text        not null default '',
    pull_count        bigint      not null default 0,
    -- Manifests that are not deleted. Zero hides the repository from `_catalog`.
    manifest_count    bigint      not null default 0,
    -- Bytes of the blobs linked here, each once.
    size_bytes        bigint      not null default 0,
    created_at        timestamptz not null default now(),
    updated_at        timestamptz not null default now(),
    last_published_at timestamptz,
    deleted_at        timestamptz
);
create unique index repositories_path_key on catalog.repositories (project_id, path) where deleted_at is null;
create index repositories_catalog_idx on catalog.repositories (path) where deleted_at is null and manifest_count > 0;
create index repositories_project_idx on catalog.repositories (project_id, id desc) where deleted_at is null;

-- The global content store. Digest: one algorithm byte (1 sha256, 2 sha512) and the raw hash.
create table catalog.blobs (
    digest     bytea       primary key,
    size       bigint      not null check (size >= 0),
    -- Storage key, chosen before the digest was known and never used twice.
    location   text        not null unique,
    -- live: the bytes are durable. deleting: the collector has them. damaged: the bytes on the disk
    -- are not what was pushed. Only `live` counts as present.
    state      text        not null default 'live' check (state in ('live', 'deleting', 'damaged')),
    last_touch timestamptz not null default clock_timestamp(),
    created_at timestamptz not null default now(),
    gc_after   timestamptz
) with (fillfactor = 85);
create index blobs_gc_idx on catalog.blobs (gc_after) where gc_after is not null;
create index blobs_state_idx on catalog.blobs (state) where state <> 'live';

-- "This repository may serve this blob." It does not pin the blob.
create table catalog.repository_blobs (
    repository_id bigint      not null references catalog.repositories (id) on delete cascade,
    digest        bytea       not null references catalog.blobs (digest) on delete cascade,
    size          bigint      not null,
    linked_at     timestamptz not null default now(),
    primary key (repository_id, digest)
);
create index repository_blobs_digest_idx on catalog.repository_blobs (digest);

create table catalog.manifests (
    id                bigint generated always as identity primary key,
    repository_id     bigint      not null references catalog.repositories (id) on delete cascade,
    digest            bytea       not null,
    media_type        text        not null check (length(media_type) <= 255),
    artifact_type     text        check (length(artifact_type) <= 255),
    config_media_type text        check (length(config_media_type) <= 255),
    config_digest     bytea,
    -- No foreign key: a subject may come later or never.
    subject_digest    bytea,
    payload           bytea       not null,
    -- payload + config + layers, as declared and checked.
    total_size        bigint      not null,
    non_distributable boolean     not null default false,
    annotations       jsonb       not null default '{}',
    -- Parsed on push, so that no list ever opens a blob: IMAGE, CHART, CNAB, WASM, ... as Harbor's `type`.
    kind              text        not null,
    -- Facts of the image config: architecture, os, variant, author, created, config.
    facts             jsonb       not null default '{}',
    pushed_at         timestamptz not null default now(),
    pushed_by         text        not null default '',
    -- Verdicts of later features. The gate is part of every query that hands out a manifest:
    -- 0 no rule asks, 1 allowed, 2 refused.
    signature_verdict smallint    not null default 0,
    scan_verdict      smallint    not null default 0,
    verdict_until     timestamptz,
    -- Deleted but restorable until the collector comes.
    deleted_at        timestamptz,
    gc_after          timestamptz,
    unique (repository_id, digest)
);
create index manifests_referrers_idx on catalog.manifests (repository_id, subject_digest, artifact_type)
    where subject_digest is not null;
create index manifests_list_idx on catalog.manifests (repository_id, pushed_at desc, id desc) where deleted_at is null;
create index manifests_gc_idx on catalog.manifests (gc_after) where gc_after is not null;

create table catalog.manifest_blobs (
    manifest_id bigint   not null references catalog.manifests (id) on delete cascade,
    digest      bytea    not null references catalog.blobs (digest),
    -- config, layer, child (older BuildKit cache indexes name blobs as children)
    role        text     not null check (role in ('config', 'layer', 'child')),
    size        bigint   not null,
    media_type  text     not null default '',
    primary key (manifest_id, digest)
);
create index manifest_blobs_digest_idx on catalog.manifest_blobs (digest);

create table catalog.manifest_children (
    parent_id     bigint   not null references catalog.manifests (id) on delete cascade,
    position      integer  not null,
    repository_id bigint   not null,
    child_digest  bytea    not null,
    media_type    text     not null default '',
    size          bigint   not null,
    platform      jsonb,
    annotations   jsonb,
    urls          jsonb,
    primary key (parent_id, position)
);
create index manifest_children_child_idx on catalog.manifest_children (repository_id, child_digest);

create table catalog.tags (
    id            bigint generated always as identity unique,
    repository_id bigint      not null references catalog.repositories (id) on delete cascade,
    name          text collate "C" not null check (length(name) between 1 and 128),
    manifest_id   bigint      not null references catalog.manifests (id) on delete cascade,
    -- Sort keys (catalog/src/sort_key.rs): digits as numbers, and semantic versions where it is one.
    natural_key   text collate "C" not null,
    semver_key    text collate "C",
    pushed_at     timestamptz not null default now(),
    pushed_by     text        not null default '',
    pull_count    bigint      not null default 0,
    last_pulled_at timestamptz,
    primary key (repository_id, name)
);
create index tags_manifest_idx on catalog.tags (manifest_id);
create index tags_natural_idx on catalog.tags (repository_id, natural_key, name);
create index tags_semver_idx on catalog.tags (repository_id, semver_key, name) where semver_key is not null;

create table catalog.tag_history (
    id            bigint generated always as identity primary key,
    repository_id bigint      not null references catalog.repositories (id) on delete cascade,
    tag           text collate "C" not null,
    action        text        not null check (action in ('create', 'move', 'delete', 'restore')),
    from_digest   bytea,
    to_digest     bytea,
    actor_kind    text        not null,
    actor_id      bigint,
    actor_name    text        not null,
    client        text        not null default '',
    at            timestamptz not null default now()
);
create index tag_history_tag_idx on catalog.tag_history (repository_id, tag, id desc);

-- Narrow, so that flushing counters never rewrites a row that carries a payload.
create table catalog.manifest_pulls (
    manifest_id    bigint      primary key references catalog.manifests (id) on delete cascade,
    pull_count     bigint      not null,
    last_pulled_at timestamptz not null
);

-- Upload sessions. The row is the truth; no request leaves anything in memory for the next.
create table catalog.upload_sessions (
    id            uuid        primary key,
    project_id    bigint      not null,
    path          text collate "C" not null,
    actor_kind    text        not null,
    actor_id      bigint      not null,
    -- Bytes acknowledged, never more than the store holds.
    offset_bytes  bigint      not null default 0,
    -- Opaque to this schema: what the blob store needs to go on (hash state, parts, tail).
    store_state   bytea       not null,
    created_at    timestamptz not null default now(),
    last_write_at timestamptz not null default now()
);
create index upload_sessions_last_write_idx on catalog.upload_sessions (last_write_at);
create index upload_sessions_actor_idx on catalog.upload_sessions (actor_kind, actor_id);

-- Keys whose bytes may go: losers of upload races, cancelled sessions.
create table catalog.dead_objects (
    key       text        primary key,
    queued_at timestamptz not null default now()
);

-- Usage of a project, each blob once. `charged` says that its size is part of the quota's used bytes:
-- true from the link or the reference on, false once the last live manifest that used it is gone.
create table catalog.project_blobs (
    project_id bigint  not null,
    digest     bytea   not null references catalog.blobs (digest) on delete cascade,
    size       bigint  not null,
    links      integer not null default 0,
    refs       integer not null default 0,
    charged    boolean not null default false,
    primary key (project_id, digest)
);
create index project_blobs_digest_idx on catalog.project_blobs (digest);
