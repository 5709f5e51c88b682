-- +goose Up

-- Where the audit log of a removed add-on ended when it was forgotten: an export that its customer kept can be held against it.
ALTER TABLE removals
    ADD COLUMN audit_lines bigint NOT NULL DEFAULT 0,
    ADD COLUMN audit_hash  bytea;                             -- of the last line; null where there was none
