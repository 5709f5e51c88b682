-- +goose Up
ALTER TABLE runs ADD COLUMN bytes_out bigint NOT NULL DEFAULT 0;   -- sealed and given to the store so far
