-- +goose Up

-- Customers' own buckets, in which a resource keeps its archives instead of ours. One that is in use no more stays for as long as
-- backups lie in it.
CREATE TABLE buckets (
    id                   uuid        PRIMARY KEY,
    resource_id          uuid        NOT NULL REFERENCES resources,
    endpoint             text        NOT NULL,              -- https://HOST[:PORT]
    region               text        NOT NULL,
    bucket               text        NOT NULL,
    prefix               text        NOT NULL,              -- of every key; empty, or with a slash at its end
    path_style           boolean     NOT NULL,
    access_key           text        NOT NULL,
    sealed_secret        bytea,                             -- null once it is removed
    delete_access_key    text        NOT NULL,              -- of the key that deletes; empty where the other one does
    sealed_delete_secret bytea,
    in_use               boolean     NOT NULL,              -- the next backup lies in it
    set_by               text        NOT NULL,
    set_at               timestamptz NOT NULL,
    removed_at           timestamptz
);
CREATE INDEX buckets_by_resource ON buckets (resource_id);
CREATE UNIQUE INDEX buckets_in_use ON buckets (resource_id) WHERE in_use;

SELECT remora_guard('buckets');

-- Where a backup's objects lie, and where each run has written: null is our own bucket.
ALTER TABLE backups ADD COLUMN bucket_id uuid REFERENCES buckets;
ALTER TABLE runs
    ADD COLUMN bucket_id uuid REFERENCES buckets,
    ADD COLUMN tidy_at   timestamptz;                       -- when what a failed run may have left in it is to be deleted; null where nothing is

CREATE INDEX backups_by_bucket ON backups (bucket_id) WHERE bucket_id IS NOT NULL;
CREATE INDEX runs_by_bucket ON runs (bucket_id) WHERE bucket_id IS NOT NULL;
CREATE INDEX runs_to_tidy ON runs (tidy_at) WHERE tidy_at IS NOT NULL;
