-- +goose Up

-- Until when the store said, when a backup was stored, that it keeps all of it, and for whom not (remora.LockMode); null where it said
-- nothing.
ALTER TABLE backups
    ADD COLUMN locked_until timestamptz,
    ADD COLUMN lock_mode    text;

-- What a customer's store said of its bucket's Object Lock when it was tried out (remora.BucketLock); null where it said nothing.
ALTER TABLE buckets
    ADD COLUMN object_lock      text,
    ADD COLUMN object_lock_days integer;
