-- A project that has used 85 % of its limit is warned about once for each time it gets there. The charge notes it
-- in the row that it changes anyway; a job tells (`Tenancy::quota_warnings_tell`).
alter table tenancy.quotas
    add column warned_at       timestamptz,
    -- Which warning was told last: equal to `warned_at` when there is nothing to tell.
    add column warning_told_at timestamptz;

create index quotas_warned_idx on tenancy.quotas (project_id)
    where warned_at is not null and warning_told_at is distinct from warned_at;
create index quotas_created_at_idx on tenancy.quotas (created_at desc, project_id);

create function tenancy.near_limit(used bigint, hard bigint) returns boolean language sql immutable as $$
    select hard > 0 and used >= hard * 0.85::double precision
$$;

update tenancy.quotas set warned_at = now() where tenancy.near_limit(used_bytes, hard_bytes);

-- As before; the detail of HT002 is "used hard added name", so that a refusal can name the project.
create or replace function tenancy.charge(project bigint, delta bigint) returns bigint language plpgsql as $$
declare quota record;
begin
    if delta = 0 then return 0; end if;
    update tenancy.quotas set used_bytes = greatest(0, used_bytes + delta), updated_at = now(),
            warned_at = case when tenancy.near_limit(greatest(0, used_bytes + delta), hard_bytes)
                             then coalesce(warned_at, now()) end
        where project_id = project and (delta < 0 or hard_bytes < 0 or used_bytes <= hard_bytes - delta);
    if found or delta < 0 then return delta; end if;
    select q.used_bytes, q.hard_bytes, p.name into quota
        from tenancy.quotas q join tenancy.projects p on p.id = q.project_id where q.project_id = project;
    if not found then
        raise exception 'the project is gone' using errcode = 'HT003';
    end if;
    raise exception 'the storage quota is used up'
        using errcode = 'HT002',
              detail = format('%s %s %s %s', quota.used_bytes, quota.hard_bytes, delta, quota.name);
end $$;
