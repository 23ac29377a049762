-- Whether limits are enforced at all: the setting `quota_per_project_enable`, true without one. What is used is counted
-- either way.
create function tenancy.quotas_enforced() returns boolean language sql stable as $$
    select not exists (select from tenancy.settings s where s.key = 'quota_per_project_enable' and s.value = 'false')
$$;

-- As before; the setting is asked for only where the limit would refuse.
create or replace function tenancy.charge(project bigint, delta bigint) returns bigint language plpgsql as $$
declare quota record;
begin
    if delta = 0 then return 0; end if;
    update tenancy.quotas set used_bytes = greatest(0, used_bytes + delta), updated_at = now(),
            warned_at = case when tenancy.near_limit(greatest(0, used_bytes + delta), hard_bytes)
                             then coalesce(warned_at, now()) end
        where project_id = project
          and case when delta < 0 or hard_bytes < 0 or used_bytes <= hard_bytes - delta then true
                   else not tenancy.quotas_enforced() end;
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
