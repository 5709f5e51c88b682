-- +goose Up
ALTER TABLE links ADD COLUMN used_at timestamptz;                 -- when a use was last written down
ALTER TABLE links ADD COLUMN used_from text NOT NULL DEFAULT '';  -- and whose
