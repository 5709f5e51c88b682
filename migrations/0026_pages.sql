-- +goose Up

-- What pages and the freshness watcher ask of a database that has thousands of backups, each answered from an index that
-- begins at the answer: the newest good ones, the first that is to be read again, how many there are of each state and
-- what they fill.
CREATE INDEX backups_good ON backups (database_id, queued_at DESC) WHERE state IN ('verified', 'proven');
CREATE INDEX backups_next_reread ON backups (database_id, reread_at) WHERE reread_at IS NOT NULL AND state IN ('verified', 'proven', 'incomplete');
CREATE INDEX backups_counted ON backups (database_id, state) INCLUDE (resource_id, stored_size);
DROP INDEX backups_stored; -- backups_counted does its work, and has the column that row-level security asks for
