-- The trail in the words of the API, and the chain that shows when somebody changed it behind our back.

-- What clients filter by: the verb of an act and the kind of its object. Derived, so they cannot contradict the act.
create function audit.operation(action text) returns text language sql immutable parallel safe as $$
    select case last
        when 'add' then 'create' when 'push' then 'create' when 'remove' then 'delete' when 'set' then 'update'
        else last end
    from (select substring(action from '[a-z]+$')) as word (last)
$$;
alter table audit.entries
    add column operation text not null generated always as (coalesce(audit.operation(action), '')) stored,
    add column description text not null generated always as
        (coalesce(audit.operation(action), '') || ' ' || object_kind || ' ' || object_name) stored;

drop index audit.entries_at_idx, audit.entries_project_idx;
create index entries_at_idx on audit.entries (at desc, id desc);
create index entries_project_idx on audit.entries (project_id, at desc, id desc);
create index entries_actor_idx on audit.entries (actor_name, at desc, id desc);
create index entries_kind_idx on audit.entries (object_kind, operation, at desc, id desc);
create index entries_object_idx on audit.entries (object_name, at desc, id desc);

-- Entries that are not linked yet. Ids are handed out in another order than transactions commit in, so what is
-- waiting is written down instead of being computed from the last id.
create table audit.pending (
    entry_id bigint primary key
);
-- What was written before there was a chain becomes its beginning.
insert into audit.pending select id from audit.entries;

-- hash = SHA-256(hash of the position before, position, body hash); before position 1 are 32 zero bytes.
create table audit.links (
    position bigint primary key,
    entry_id bigint not null unique,
    hash     bytea  not null
);

-- Known good places of the chain. After a purge it begins behind the newest one with that reason.
create table audit.checkpoints (
    position bigint      not null,
    hash     bytea       not null,
    reason   text        not null check (reason in ('periodic', 'purge')),
    at       timestamptz not null default now(),
    primary key (position, reason)
);

create or replace function audit.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'audit.% is append only', tg_table_name;
end $$;
create trigger links_append_only before update or delete or truncate on audit.links
    for each statement execute function audit.refuse_change();
create trigger checkpoints_append_only before update or delete or truncate on audit.checkpoints
    for each statement execute function audit.refuse_change();

-- Links what waits, at most `most` entries, oldest first. One caller at a time; for the others `linked` is -1.
-- Runs with the owner's rights: the runtime role may take nothing off the list of what waits.
create function audit.link(most integer, out linked integer, out head_position bigint, out head_hash bytea,
                           out is_checkpoint boolean, out waiting_seconds float8)
    language plpgsql security definer set search_path = pg_catalog as $$
declare one record;
begin
    linked := -1;
    is_checkpoint := false;
    if not pg_try_advisory_xact_lock(7021534118046311) then return; end if;
    linked := 0;
    select l.position, l.hash into head_position, head_hash from audit.links l order by l.position desc limit 1;
    if not found then
        -- Everything that was linked may have been purged.
        select c.position, c.hash into head_position, head_hash from audit.checkpoints c
            order by c.position desc limit 1;
        if not found then
            head_position := 0;
            head_hash := decode(repeat('00', 32), 'hex');
        end if;
    end if;
    for one in
        select p.entry_id, e.body_hash from audit.pending p join audit.entries e on e.id = p.entry_id
        order by p.entry_id limit most
    loop
        head_position := head_position + 1;
        head_hash := sha256(head_hash || int8send(head_position) || one.body_hash);
        insert into audit.links (position, entry_id, hash) values (head_position, one.entry_id, head_hash);
        delete from audit.pending p where p.entry_id = one.entry_id;
        linked := linked + 1;
    end loop;
    if linked > 0 and not exists (select from audit.checkpoints c where c.at > now() - interval '1 hour') then
        insert into audit.checkpoints (position, hash, reason) values (head_position, head_hash, 'periodic');
        is_checkpoint := true;
    end if;
    select extract(epoch from clock_timestamp() - e.at) into waiting_seconds
        from audit.pending p join audit.entries e on e.id = p.entry_id order by p.entry_id limit 1;
    waiting_seconds := coalesce(waiting_seconds, 0);
end $$;
