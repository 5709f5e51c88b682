-- +goose Up

-- What the bucket has been given so that these rows could be made again from it (remora rebuild).
ALTER TABLE resources ADD COLUMN key_copies text[] NOT NULL DEFAULT '{}';  -- ids of the master keys that seal the copies of its key there
ALTER TABLE resources ADD COLUMN marked_at timestamptz;                    -- when the bucket was told that it was removed
ALTER TABLE retired_keys ADD COLUMN copied_by text NOT NULL DEFAULT '';    -- id of the master key that seals the copy there
CREATE INDEX resources_to_mark ON resources (id) WHERE (state = 'deprovisioned') <> (marked_at IS NOT NULL);

-- While one has no end nothing is deleted, whoever asks: our database may know less than the bucket, or other than is so.
-- Nobody's rows; for the service alone.
CREATE TABLE deletion_holds (
    id       uuid        PRIMARY KEY,
    since    timestamptz NOT NULL,
    because  text        NOT NULL,
    ended_at timestamptz
);
CREATE UNIQUE INDEX deletion_holds_one ON deletion_holds ((true)) WHERE ended_at IS NULL;
ALTER TABLE deletion_holds ENABLE ROW LEVEL SECURITY;
ALTER TABLE deletion_holds FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_service ON deletion_holds USING (current_setting('remora.service', true) = 'on') WITH CHECK (current_setting('remora.service', true) = 'on');
