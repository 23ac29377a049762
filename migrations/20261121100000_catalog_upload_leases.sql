-- Who may write to an upload, for stores that cannot keep processes on several machines apart. Only the
-- holder of an unexpired lease may take it on; every record of progress names the holder.
alter table catalog.upload_sessions
    add column writer      uuid,
    add column lease_until timestamptz;

-- Where the bytes of an ended session are, for stores that cannot find them by its id.
alter table catalog.dead_objects add column store_state bytea;
