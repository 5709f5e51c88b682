-- +goose Up
ALTER TABLE backups ADD COLUMN rows bigint NOT NULL DEFAULT -1;   -- of all tables; -1 where nobody counted
