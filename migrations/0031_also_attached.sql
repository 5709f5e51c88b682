-- +goose Up

-- The attachments, beside the one that is used, that carry other read-only credentials of a database, as the newest listing
-- showed them.
ALTER TABLE databases ADD COLUMN also text[] NOT NULL DEFAULT '{}';
