create schema queue;

-- One row is the whole truth about a job: state, progress, lease, log, cancel, schedule.
create table queue.jobs (
    id               bigint generated always as identity primary key,
    kind             text        not null,
    payload          jsonb       not null,
    dedupe_key       text,
    state            text        not null default 'queued'
        check (state in ('queued', 'running', 'retrying', 'stopping', 'done', 'failed', 'stopped')),
    priority         smallint    not null default 0,
    run_at           timestamptz not null default now(),
    attempts         integer     not null default 0,
    attempts_max     integer     not null default 5,
    -- Who holds the job, until when, and the number every write of that holder has to show.
    worker           text,
    lease_until      timestamptz,
    fence            bigint      not null default 0,
    cancel_requested boolean     not null default false,
    dry_run          boolean     not null default false,
    parent_id        bigint references queue.jobs (id) on delete cascade,
    schedule         text,
    asked_by         text        not null default 'system',
    phase            text        not null default '',
    done_count       bigint      not null default 0,
    total_count      bigint      not null default 0,
    message          text        not null default '',
    log_tail         text        not null default '',
    created_at       timestamptz not null default now(),
    started_at       timestamptz,
    finished_at      timestamptz
);
create unique index jobs_dedupe_key on queue.jobs (kind, dedupe_key)
    where dedupe_key is not null and state in ('queued', 'retrying', 'running', 'stopping');
create index jobs_due_idx on queue.jobs (priority desc, run_at, id) where state in ('queued', 'retrying');
create index jobs_lease_idx on queue.jobs (lease_until) where state in ('running', 'stopping');
create index jobs_kind_idx on queue.jobs (kind, id desc);
create index jobs_finished_at_idx on queue.jobs (finished_at) where finished_at is not null;

create table queue.schedules (
    name        text        primary key,
    kind        text        not null,
    cron        text        not null,
    payload     jsonb       not null,
    enabled     boolean     not null default true,
    next_run_at timestamptz not null,
    updated_at  timestamptz not null default now()
);

-- Facts. The runner turns one row into one job per subscriber in one transaction and then removes it.
create table queue.events (
    id         bigint generated always as identity primary key,
    kind       text        not null,
    payload    jsonb       not null,
    created_at timestamptz not null default now()
);

create function queue.announce() returns trigger language plpgsql as $$
begin
    perform pg_notify('hythe_queue', '');
    return null;
end $$;
create trigger jobs_announce after insert on queue.jobs for each statement execute function queue.announce();
create trigger events_announce after insert on queue.events for each statement execute function queue.announce();
