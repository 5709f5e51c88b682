-- +goose Up

-- A customer's bucket that takes a copy of each backup which is made in ours: at most one of a resource. Of one that is in use it says
-- nothing, for a release that does not know the column may have put it to use.
ALTER TABLE buckets ADD COLUMN takes_copies boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX buckets_take_copies ON buckets (resource_id) WHERE takes_copies;

-- Since when what is left of an expired backup lies at its owner's alone, and cannot be deleted there.
ALTER TABLE backups ADD COLUMN theirs_left_at timestamptz;

-- Copies of backups in customers' buckets. A release that does not know them deletes what they point at.
CREATE TABLE copies (
    backup_id   uuid        NOT NULL REFERENCES backups ON DELETE CASCADE,
    bucket_id   uuid        NOT NULL REFERENCES buckets ON DELETE CASCADE,
    resource_id uuid        NOT NULL REFERENCES resources,
    state       text        NOT NULL CHECK (state IN ('queued', 'copied', 'failed', 'stopped')),
    reason      text        NOT NULL DEFAULT '',            -- why it failed, or is tried again
    detail      text        NOT NULL DEFAULT '',
    epoch       integer     NOT NULL DEFAULT 0,             -- of its newest attempt
    attempts    integer     NOT NULL DEFAULT 0,             -- since somebody asked for it
    lease_until timestamptz,                                -- null where no attempt is under way
    bytes       bigint      NOT NULL DEFAULT 0,             -- that were copied
    asked_at    timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,                       -- when the next attempt may begin
    ended_at    timestamptz,                                -- null while it is queued
    tidy_at     timestamptz,                                -- when what was written after its backup's end is to be deleted; null where nothing was
    PRIMARY KEY (backup_id, bucket_id)
);
CREATE INDEX copies_by_bucket ON copies (bucket_id);
CREATE INDEX copies_queued ON copies (due_at) WHERE state = 'queued';
CREATE INDEX copies_held ON copies (resource_id) WHERE lease_until IS NOT NULL;
CREATE INDEX copies_to_tidy ON copies (tidy_at) WHERE tidy_at IS NOT NULL;

SELECT remora_guard('copies');
