-- What stands in front of a robot's stored name when it is shown and when it logs in. One row.
create table identity.robot_prefix (
    only_row boolean primary key default true check (only_row),
    prefix   text    not null check (length(prefix) between 1 and 32)
);
insert into identity.robot_prefix (prefix) values ('robot$');
create trigger robot_prefix_announce after update on identity.robot_prefix
    for each statement execute function identity.announce();

-- How a robot of this stored name is called by everybody.
create function identity.robot_login(name text) returns text language sql stable as $$
    select prefix || name from identity.robot_prefix
$$;
