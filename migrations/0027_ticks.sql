-- +goose Up

-- The tick writes ten thousand rows at a midnight, and each foreign key is a statement for each row. One key that names the database
-- and whose it is says more than one for each of them, and costs one: a row of one customer's cannot name what is another's.
CREATE UNIQUE INDEX databases_whose ON databases (id, resource_id);
CREATE UNIQUE INDEX schedules_whose ON schedules (id, database_id, resource_id);

ALTER TABLE backups
    DROP CONSTRAINT backups_resource_id_fkey,
    DROP CONSTRAINT backups_database_id_fkey,
    ADD CONSTRAINT backups_whose FOREIGN KEY (database_id, resource_id) REFERENCES databases (id, resource_id);

ALTER TABLE occurrences
    DROP CONSTRAINT occurrences_resource_id_fkey,
    DROP CONSTRAINT occurrences_database_id_fkey,
    DROP CONSTRAINT occurrences_schedule_id_fkey,
    ADD CONSTRAINT occurrences_whose FOREIGN KEY (schedule_id, database_id, resource_id) REFERENCES schedules (id, database_id, resource_id);

-- The same rows as before. What the service does looks at most of them, and is asked first, without a uuid in words.
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION remora_visible(resource uuid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN current_setting('remora.service', true) = 'on'
        OR resource::text = current_setting('remora.resource', true);
-- +goose StatementEnd

-- Of those that wait, the ones whose resource was served since they do: they hold up nobody. So whoever asks who has waited for longer
-- finds the first that counts, and does not walk through ten thousand that do not.
ALTER TABLE backups ADD COLUMN passed boolean NOT NULL DEFAULT false;
DROP INDEX backups_waiting;
CREATE INDEX backups_waiting ON backups (passed, coalesce(retry_at, queued_at)) WHERE state = 'queued';
