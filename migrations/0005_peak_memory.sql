-- +goose Up
ALTER TABLE backups ADD COLUMN peak_memory bigint NOT NULL DEFAULT 0;   -- bytes that the run took besides its upload; 0 where nobody measured
