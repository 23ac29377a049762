-- How people want the console. No row, or an empty text, is no choice.
create table identity.preferences (
    user_id    bigint      primary key references identity.users (id),
    language   text        not null default '' check (length(language) <= 16),
    theme      text        not null default '' check (length(theme) <= 16),
    page_size  integer     not null default 0 check (page_size between 0 and 100),
    -- The program whose commands are shown.
    client     text        not null default '' check (length(client) <= 16),
    -- Whether single keys do something.
    shortcuts  boolean     not null default true,
    updated_at timestamptz not null default now()
);
