-- Secrets of a person for programs, with less than the person's own rights. Epochs of kind 4 are theirs.
create table identity.access_tokens (
    id                bigint generated always as identity primary key,
    user_id           bigint      not null references identity.users (id),
    name              text        not null check (length(name) between 1 and 255),
    -- sha256:HEX of the secret, which was made here.
    secret_hash       text        not null unique,
    scopes            text[]      not null
        check (cardinality(scopes) > 0 and scopes <@ array['pull', 'push', 'delete', 'api', 'api:read']),
    -- Opaque here: the only projects it opens; none means all of its owner's.
    projects          bigint[]    not null default '{}',
    created_at        timestamptz not null default now(),
    expires_at        timestamptz,
    last_used_at      timestamptz,
    last_used_address text        not null default '',
    unique (user_id, name)
);

-- Groups of people, as directories and identity providers know them. Kind: 1 LDAP, 2 HTTP, 3 OIDC.
create table identity.groups (
    id         bigint generated always as identity primary key,
    kind       smallint    not null check (kind between 1 and 3),
    name       text        not null check (length(name) between 1 and 255),
    -- The distinguished name of a group of kind 1, in lower case.
    dn         text        not null default '' check (length(dn) <= 512),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);
create unique index groups_name_key on identity.groups (kind, name) where kind <> 1;
create unique index groups_dn_key on identity.groups (dn) where kind = 1;

create table identity.group_members (
    group_id bigint not null references identity.groups (id) on delete cascade,
    user_id  bigint not null references identity.users (id),
    primary key (group_id, user_id)
);
create index group_members_user_id_idx on identity.group_members (user_id);
