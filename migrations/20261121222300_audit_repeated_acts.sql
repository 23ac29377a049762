-- How many equal acts a row stands for; the other columns are those of the last one. Part of what the hash covers.
alter table audit.entries add column repeated integer not null default 1 check (repeated > 0);
