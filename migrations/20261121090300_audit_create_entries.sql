create schema audit;

-- One row per act, written in the transaction of the change it tells of. Append only.
create table audit.entries (
    id          bigint generated always as identity primary key,
    at          timestamptz not null default now(),
    actor_kind  text        not null,
    actor_id    bigint,
    actor_name  text        not null,
    action      text        not null,
    object_kind text        not null,
    object_id   text        not null default '',
    object_name text        not null default '',
    project_id  bigint,
    outcome     text        not null check (outcome in ('done', 'denied', 'failed')),
    request_id  text        not null default '',
    address     text        not null default '',
    client      text        not null default '',
    auth_method text        not null default '',
    changed     text[]      not null default '{}',
    -- SHA-256 over a versioned, length-prefixed encoding of the columns above (crate `audit`, entry.rs).
    body_hash   bytea       not null
);
create index entries_at_idx on audit.entries (at);
create index entries_project_idx on audit.entries (project_id, id desc);

create function audit.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'audit.entries is append only';
end $$;
create trigger entries_append_only before update or delete or truncate on audit.entries
    for each statement execute function audit.refuse_change();
