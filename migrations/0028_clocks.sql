-- +goose Up

-- Up to when a schedule was brought last. Where that is in the future, our clock was set forward and back since.
ALTER TABLE schedules ADD COLUMN brought_at timestamptz;

-- When the promise that holds since the schedule was changed is to be kept first. Saving it once more puts nothing off.
ALTER TABLE schedules ADD COLUMN promised_at timestamptz;
