-- +goose Up

-- The migration itself works on everybody's rows.
SELECT set_config('remora.service', 'on', true);

-- A schedule is a rule on the clocks of a zone. What was there is daily, at a minute of the day in UTC.
ALTER TABLE schedules
    ADD COLUMN kind         text        NOT NULL DEFAULT 'daily' CHECK (kind IN ('hourly', 'every_hours', 'daily', 'weekly', 'monthly', 'cron')),
    ADD COLUMN hours        integer     NOT NULL DEFAULT 0,
    ADD COLUMN weekday      integer     NOT NULL DEFAULT 0,          -- 0 is Sunday
    ADD COLUMN day          integer     NOT NULL DEFAULT 0,          -- of the month
    ADD COLUMN cron         text        NOT NULL DEFAULT '',
    ADD COLUMN zone         text        NOT NULL DEFAULT 'UTC',      -- IANA name
    ADD COLUMN changed_at   timestamptz,                             -- null while it is the default
    ADD COLUMN changed_by   text        NOT NULL DEFAULT '',
    ADD COLUMN ran_at       timestamptz,                             -- the newest occurrence that asked for a backup
    ADD COLUMN paused_at    timestamptz,                             -- null unless paused
    ADD COLUMN paused_by    text        NOT NULL DEFAULT '',
    ADD COLUMN pause_reason text        NOT NULL DEFAULT '';

-- One time at which a schedule was due, and what came of it. The primary key is what makes it one.
CREATE TABLE occurrences (
    schedule_id uuid        NOT NULL REFERENCES schedules,
    at          timestamptz NOT NULL,
    resource_id uuid        NOT NULL REFERENCES resources,
    database_id uuid        NOT NULL REFERENCES databases,
    backup_id   uuid        REFERENCES backups,                      -- null where it was skipped at once
    outcome     text        NOT NULL CHECK (outcome IN ('pending', 'succeeded', 'failed', 'skipped')),
    reason      text        NOT NULL DEFAULT '',
    ended_at    timestamptz,                                         -- null while pending
    PRIMARY KEY (schedule_id, at),
    CHECK (outcome <> 'pending' OR backup_id IS NOT NULL)
);
CREATE UNIQUE INDEX occurrences_by_backup ON occurrences (backup_id) WHERE backup_id IS NOT NULL;
CREATE INDEX occurrences_pending ON occurrences (at) WHERE outcome = 'pending';

ALTER TABLE occurrences ENABLE ROW LEVEL SECURITY;
ALTER TABLE occurrences FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON occurrences USING (remora_visible(resource_id)) WITH CHECK (remora_visible(resource_id));

-- What was due before this release.
INSERT INTO occurrences (schedule_id, at, resource_id, database_id, backup_id, outcome, reason, ended_at)
SELECT schedule_id, occurrence, resource_id, database_id, id,
       CASE WHEN state IN ('queued', 'running') THEN 'pending'
            WHEN state IN ('verified', 'proven', 'expired', 'deleted') THEN 'succeeded'
            WHEN state = 'canceled' THEN 'skipped'
            ELSE 'failed' END,
       reason, ended_at
  FROM backups WHERE schedule_id IS NOT NULL AND occurrence IS NOT NULL;
