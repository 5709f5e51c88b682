-- +goose Up

-- A smaller plan takes away what it does not include only after a grace: until then the old one's limits hold.
ALTER TABLE resources ADD COLUMN shrinks_from text NOT NULL DEFAULT '';   -- the old plan; '' where nothing is pending
ALTER TABLE resources ADD COLUMN shrinks_at timestamptz;
ALTER TABLE resources ADD COLUMN over_since timestamptz;                  -- since when more is stored than the plan includes; null where it is not

-- When a backup of the resource was begun last. Whoever has been served gives way to those who have waited since before that.
ALTER TABLE resources ADD COLUMN served_at timestamptz;
CREATE INDEX backups_waiting ON backups (coalesce(retry_at, queued_at)) WHERE state = 'queued';
CREATE INDEX backups_waiting_by_resource ON backups (resource_id) WHERE state = 'queued';

ALTER TABLE runs ADD COLUMN server text NOT NULL DEFAULT '';              -- address and port that it reads from; '' until they are known
CREATE INDEX runs_live_by_server ON runs (server) WHERE state IN ('claimed', 'dumping', 'confirming') AND server <> '';

-- What the run cost the customer's database.
ALTER TABLE runs ADD COLUMN held interval;                                -- how long its snapshot was held; null where it had none
ALTER TABLE runs ADD COLUMN blocked integer;                              -- the most sessions that waited for it at a time; null where nobody looked
ALTER TABLE runs ADD COLUMN waited interval;                              -- how long one at least waited
