-- Wishes for projects of people who may not create them, and what was decided about them. Rows stay as the record of
-- who wanted what; only undecided ones are of consequence.
create table tenancy.project_requests (
    id             bigint generated always as identity primary key,
    requester_id   bigint      not null references identity.users (id),
    name           text collate "C" not null check (length(name) between 1 and 255),
    public         boolean     not null,
    -- NULL: the default of the moment of the decision.
    hard_bytes     bigint check (hard_bytes = -1 or hard_bytes > 0),
    reason         text        not null,
    created_at     timestamptz not null default now(),
    decision       text check (decision in ('approve', 'refuse')),
    decided_by     bigint references identity.users (id),
    decided_reason text        not null default '',
    decided_at     timestamptz,
    project_id     bigint references tenancy.projects (id),
    check ((decision is null) = (decided_at is null))
);
create unique index project_requests_pending_key on tenancy.project_requests (requester_id, name)
    where decision is null;
create index project_requests_requester_idx on tenancy.project_requests (requester_id, created_at desc, id desc);
create index project_requests_created_at_idx on tenancy.project_requests (created_at desc, id desc);
