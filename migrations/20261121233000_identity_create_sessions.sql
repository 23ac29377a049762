-- Who is signed in to the console. The cookie is random and only its hash is here; the id is what people see in the
-- list of their sessions.
create table identity.sessions (
    id                 uuid        primary key,
    secret_hash        bytea       not null unique,
    user_id            bigint      not null references identity.users (id),
    -- As in refresh tokens: a new password ends every session that did not set it.
    credential_version bigint      not null,
    -- Minutes without a request after which it ends.
    idle_minutes       integer     not null check (idle_minutes > 0),
    address            text        not null default '',
    client             text        not null default '',
    created_at         timestamptz not null default now(),
    last_seen_at       timestamptz not null default now(),
    expires_at         timestamptz not null
);
create index sessions_user_id_idx on identity.sessions (user_id, last_seen_at desc);
create index sessions_expires_at_idx on identity.sessions (expires_at);
