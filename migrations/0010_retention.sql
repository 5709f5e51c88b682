-- +goose Up

-- What a person said about how long a database's backups are kept. In force is the newest that was not undone and whose
-- time has come; where there is none, the plan's default is. A number of 0 is a rule that keeps nothing.
CREATE TABLE retentions (
    id           uuid        PRIMARY KEY,
    resource_id  uuid        NOT NULL REFERENCES resources,
    database_id  uuid        NOT NULL REFERENCES databases,
    last         integer     NOT NULL,
    days         integer     NOT NULL,
    hourly       integer     NOT NULL,
    daily        integer     NOT NULL,
    weekly       integer     NOT NULL,
    monthly      integer     NOT NULL,
    yearly       integer     NOT NULL,
    zone         text        NOT NULL,                       -- IANA name
    set_by       text        NOT NULL,
    set_at       timestamptz NOT NULL,
    effective_at timestamptz NOT NULL,
    undone_at    timestamptz,
    undone_by    text        NOT NULL DEFAULT ''
);
CREATE INDEX retentions_by_database ON retentions (database_id, effective_at DESC) WHERE undone_at IS NULL;

-- A person's word that a backup is to stay. Releasing it sets released_at; locking again begins anew.
CREATE TABLE locks (
    backup_id   uuid        PRIMARY KEY REFERENCES backups,
    resource_id uuid        NOT NULL REFERENCES resources,
    database_id uuid        NOT NULL REFERENCES databases,
    note        text        NOT NULL,
    locked_by   text        NOT NULL,
    locked_at   timestamptz NOT NULL,
    released_at timestamptz,
    released_by text        NOT NULL DEFAULT ''
);
CREATE INDEX locks_by_database ON locks (database_id);

-- An expired backup is no longer offered; what is stored of it goes once delete_at has come, and then it is deleted.
ALTER TABLE backups
    ADD COLUMN expired_at      timestamptz,
    ADD COLUMN expired_because text        NOT NULL DEFAULT '',
    ADD COLUMN delete_at       timestamptz,
    ADD COLUMN deleted_at      timestamptz,
    ADD COLUMN delete_attempts integer     NOT NULL DEFAULT 0,   -- those that failed
    ADD COLUMN delete_problem  text        NOT NULL DEFAULT '';  -- of the last of them, for the operator
CREATE INDEX backups_to_delete ON backups (delete_at) WHERE state = 'expired';

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['retentions', 'locks'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (remora_visible(resource_id)) WITH CHECK (remora_visible(resource_id))', t);
    END LOOP;
END
$$;
-- +goose StatementEnd
