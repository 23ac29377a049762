-- The one place where it is decided whether bytes fit: a statement of the catalog can decide and charge in one
-- round trip with what it stores.

-- Charges bytes (or releases them, below zero) and returns them. Refused with HT002 (the detail is "used hard added")
-- or HT003 (no such project). A release never fails and never goes below zero. The row stays locked until the
-- transaction ends: call it last.
create function tenancy.charge(project bigint, delta bigint) returns bigint language plpgsql as $$
declare quota tenancy.quotas;
begin
    if delta = 0 then return 0; end if;
    update tenancy.quotas set used_bytes = greatest(0, used_bytes + delta), updated_at = now()
        where project_id = project and (delta < 0 or hard_bytes < 0 or used_bytes <= hard_bytes - delta);
    if found or delta < 0 then return delta; end if;
    select * into quota from tenancy.quotas where project_id = project;
    if not found then
        raise exception 'the project is gone' using errcode = 'HT003';
    end if;
    raise exception 'the storage quota is used up'
        using errcode = 'HT002', detail = format('%s %s %s', quota.used_bytes, quota.hard_bytes, delta);
end $$;
