-- +goose Up

-- The permission doctor's report on a credential: of a backup's run, the newest where there were several; or of a check
-- without a backup, the newest of each database. reason says why there is no report, where the database could not be
-- asked.
CREATE TABLE audits (
    id              uuid        PRIMARY KEY,
    resource_id     uuid        NOT NULL REFERENCES resources,
    database_id     uuid        NOT NULL REFERENCES databases,
    backup_id       uuid        UNIQUE REFERENCES backups,
    at              timestamptz NOT NULL,
    reason          text        NOT NULL DEFAULT '',
    detail          text        NOT NULL DEFAULT '',
    role            text        NOT NULL DEFAULT '',
    findings        jsonb       NOT NULL DEFAULT '[]',
    more            boolean     NOT NULL DEFAULT false,      -- there was more than is listed
    inventory       jsonb,                                   -- of the snapshot; null where it was not taken
    witness_before  bigint      NOT NULL DEFAULT 0,          -- the server's next transaction id; 0 where nobody looked
    witness_after   bigint      NOT NULL DEFAULT 0,
    standby         boolean     NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX audits_one_check_per_database ON audits (database_id) WHERE backup_id IS NULL;
CREATE INDEX audits_by_database ON audits (database_id, at DESC);

-- A person's word that a finding to review is meant to be so.
CREATE TABLE acknowledgements (
    resource_id uuid        NOT NULL REFERENCES resources,
    database_id uuid        NOT NULL REFERENCES databases,
    code        text        NOT NULL,
    object      text        NOT NULL,
    by          text        NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (database_id, code, object)
);

ALTER TABLE databases ADD COLUMN plan text NOT NULL DEFAULT '';  -- of the Postgres add-on, as Heroku names it; '' where it did not say
ALTER TABLE databases ADD COLUMN check_asked_at timestamptz; -- a check of the credential is under way; null where none is

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['audits', 'acknowledgements'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (remora_visible(resource_id)) WITH CHECK (remora_visible(resource_id))', t);
    END LOOP;
END
$$;
-- +goose StatementEnd
