-- Whoever leaves a group loses what it gave: their tokens end. By a trigger, because whatever knows who is in a group
-- writes here, and none of it may forget this.
create function identity.left_groups() returns trigger language plpgsql as $$
begin
    insert into identity.epochs as e (kind, subject_id, epoch)
        select 1, user_id, 1 from (select distinct user_id from gone) d order by user_id
        on conflict (kind, subject_id) do update set epoch = e.epoch + 1, raised_at = clock_timestamp();
    return null;
end $$;
create trigger group_members_left after delete on identity.group_members
    referencing old table as gone for each statement execute function identity.left_groups();
create trigger group_members_changed after update on identity.group_members
    referencing old table as gone for each statement execute function identity.left_groups();
