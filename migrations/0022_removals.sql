-- +goose Up

-- What becomes of a removed add-on, step by step. In the end the row is the receipt, and beside the resource's, which is the
-- tombstone, all that is left of it.
CREATE TABLE removals (
    resource_id        uuid        PRIMARY KEY REFERENCES resources,
    token_hash         bytea       UNIQUE,                    -- of the receipt's address; null where an older release removed it
    sealed_token       bytea,                                 -- to tell the address; null once nobody is told any more
    asked_at           timestamptz NOT NULL,                  -- when access ended
    undo_until         timestamptz NOT NULL,                  -- the key goes then
    databases          bigint      NOT NULL,                  -- what was held when it was asked for
    backups            bigint      NOT NULL,                  -- of which something was stored
    objects            bigint      NOT NULL,
    bytes              bigint      NOT NULL,
    key_destroyed_at   timestamptz,
    objects_deleted_at timestamptz,
    deleted_objects    bigint      NOT NULL DEFAULT 0,        -- also those that no backup listed
    deleted_bytes      bigint      NOT NULL DEFAULT 0,
    aborted_uploads    bigint      NOT NULL DEFAULT 0,
    attempts           integer     NOT NULL DEFAULT 0,        -- at deleting what is stored
    problem            text        NOT NULL DEFAULT '',       -- of the last of them, for the operator
    forgotten_at       timestamptz                            -- all other rows went
);
CREATE INDEX removals_unfinished ON removals (undo_until) WHERE forgotten_at IS NULL;
SELECT remora_guard('removals');

-- PostgreSQL looks for what points at each row that goes.
CREATE INDEX events_by_backup ON events (backup_id) WHERE backup_id IS NOT NULL;
CREATE INDEX occurrences_by_database ON occurrences (database_id);
CREATE INDEX retentions_of_database ON retentions (database_id);
