-- How long what was deleted or moved away can be brought back: the setting `restore_days`, 14 without one. What does not
-- fit counts as absent, as with every setting.
create or replace function catalog.restore_window() returns interval language sql stable as $$
    select make_interval(days => coalesce(
        (select case when s.value::text ~ '^[0-9]{1,4}$' then s.value::text::integer end
         from tenancy.settings s where s.key = 'restore_days'), 14))
$$;
