-- A digest column as people write it.
create function catalog.digest_text(digest bytea) returns text language sql immutable as $$
    select case get_byte(digest, 0) when 1 then 'sha256:' else 'sha512:' end || encode(substr(digest, 2), 'hex')
$$;

-- How long what was deleted or moved away can be brought back.
create function catalog.restore_window() returns interval language sql immutable as $$ select interval '14 days' $$;

-- Tags of all repositories of a project, newest first.
create index tags_pushed_idx on catalog.tags (repository_id, pushed_at desc, id desc);
