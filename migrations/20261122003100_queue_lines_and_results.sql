-- The log of a job, line by line: a job may say thousands of them, and a row that holds all would be copied with each.
create table queue.lines (
    job_id bigint      not null references queue.jobs (id) on delete cascade,
    number bigint      generated always as identity,
    at     timestamptz not null default now(),
    line   text        not null,
    primary key (job_id, number)
);
insert into queue.lines (job_id, at, line)
    select id, coalesce(finished_at, created_at), rtrim(log_tail, e'\n') from queue.jobs where log_tail <> '';
alter table queue.jobs
    drop column log_tail,
    -- What the job came to, as its kind defines it.
    add column result jsonb;
