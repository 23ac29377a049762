-- What happened on each day, for charts. Days are those of UTC.

create function catalog.utc_day(moment timestamptz) returns date language sql immutable as $$
    select (moment at time zone 'UTC')::date
$$;

-- Pulls and pushes of a repository, counted as they happen. Whoever writes a row holds the lock of its repository, so
-- the rows need no order of their own. No row is a day on which nothing happened.
create table catalog.repository_days (
    repository_id bigint not null references catalog.repositories (id) on delete cascade,
    -- That of the repository. Without a key of its own: a push must not lock the row of its project.
    project_id    bigint not null,
    day           date   not null,
    pulls         bigint not null default 0,
    pushes        bigint not null default 0,
    primary key (repository_id, day)
) with (fillfactor = 80);
create index repository_days_day_idx on catalog.repository_days (day, project_id);

-- The same of a project, with the bytes charged to it at the end of the day. Made from the rows above.
create table catalog.project_days (
    project_id bigint not null references tenancy.projects (id) on delete cascade,
    day        date   not null,
    used_bytes bigint not null,
    pulls      bigint not null,
    pushes     bigint not null,
    primary key (project_id, day)
) with (fillfactor = 80);
create index project_days_day_idx on catalog.project_days (day);

-- The same of all projects together, those that are gone by now included.
create table catalog.installation_days (
    day        date   primary key,
    used_bytes bigint not null,
    pulls      bigint not null,
    pushes     bigint not null
);

-- The day that was added up last; everything before it is final. One row, whose lock makes nodes take turns.
create table catalog.days_rolled (
    one     boolean primary key default true check (one),
    through date
);
insert into catalog.days_rolled default values;

-- Adds up one day and says whether there are more. The day that is being added up is the one it was an hour ago: the
-- first look after midnight says what was used at the end of the day before. What was not looked at in time has the
-- bytes of the look before it. Doing it again changes nothing that is final.
create function catalog.roll_up_day(moment timestamptz) returns boolean language plpgsql as $$
declare
    last_day date := catalog.utc_day(moment - interval '1 hour');
    this_day date;
begin
    select case when r.through is null then last_day else greatest(r.through, last_day - 400) end
        into this_day from catalog.days_rolled r for update;
    if this_day > last_day then return false; end if;
    insert into catalog.project_days as d (project_id, day, used_bytes, pulls, pushes)
        select p.id, this_day,
               case when this_day = last_day then coalesce(q.used_bytes, 0)
                    else coalesce((select e.used_bytes from catalog.project_days e
                                   where e.project_id = p.id and e.day < this_day order by e.day desc limit 1),
                                  q.used_bytes, 0) end,
               coalesce(c.pulls, 0), coalesce(c.pushes, 0)
        from tenancy.projects p
        left join tenancy.quotas q on q.project_id = p.id
        left join (select r.project_id, sum(r.pulls)::bigint as pulls, sum(r.pushes)::bigint as pushes
                   from catalog.repository_days r where r.day = this_day group by r.project_id) c on c.project_id = p.id
        where catalog.utc_day(p.created_at) <= this_day
          and (p.deleted_at is null or catalog.utc_day(p.deleted_at) >= this_day)
        order by p.id
        on conflict (project_id, day) do update set
            used_bytes = case when this_day = last_day then excluded.used_bytes else d.used_bytes end,
            pulls = excluded.pulls, pushes = excluded.pushes;
    insert into catalog.installation_days (day, used_bytes, pulls, pushes)
        select this_day, coalesce(sum(d.used_bytes), 0), coalesce(sum(d.pulls), 0), coalesce(sum(d.pushes), 0)
        from catalog.project_days d where d.day = this_day
        on conflict (day) do update set
            used_bytes = excluded.used_bytes, pulls = excluded.pulls, pushes = excluded.pushes;
    update catalog.days_rolled set through = least(this_day + 1, last_day);
    return this_day < last_day;
end $$;

-- As before, and the push is counted. It rides in a statement that is sent anyway, on a row that only this repository
-- has, under a lock that is held already.
create or replace function catalog.publish(
    project bigint, repository bigint, manifest bigint, alive_before boolean, added bytea[]
) returns bigint language plpgsql as $$
begin
    update catalog.repositories
        set manifest_count = manifest_count + case when alive_before then 0 else 1 end,
            updated_at = now(), last_published_at = now()
        where id = repository;
    insert into catalog.repository_days as d (repository_id, project_id, day, pushes)
        values (repository, project, catalog.utc_day(now()), 1)
        on conflict (repository_id, day) do update set pushes = d.pushes + 1;
    if not alive_before then
        return catalog.reference_manifest(project, manifest);
    end if;
    if cardinality(added) = 0 then
        return 0;
    end if;
    return catalog.reference_blobs(project, added);
end $$;
