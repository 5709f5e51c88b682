-- +goose Up

-- When what is stored of a backup was found not to be what was written; null where it is not, or was found before this column.
ALTER TABLE backups ADD COLUMN damaged_at timestamptz;
