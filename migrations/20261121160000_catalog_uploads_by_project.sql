-- The sessions of a project are counted, and their bytes added up against its quota, at every request on one of them.
create index upload_sessions_project_idx on catalog.upload_sessions (project_id);
