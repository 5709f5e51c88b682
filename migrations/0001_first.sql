-- +goose Up

-- Every table that holds a customer's rows has row-level security from this first migration on, FORCEd on
-- its owner, because on Heroku Postgres no other role can be made. A transaction sees nothing until it says
-- whose rows it works on (remora.resource) or that it serves all of them (remora.service = 'on': the tick,
-- the reaper, the janitor). Both are set for one transaction only.

-- +goose StatementBegin
CREATE FUNCTION remora_visible(resource uuid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN resource::text = current_setting('remora.resource', true)
        OR current_setting('remora.service', true) = 'on';
-- +goose StatementEnd

-- One installed add-on. id is Heroku's uuid. A removed one stays as a tombstone.
CREATE TABLE resources (
    id                    uuid        PRIMARY KEY,
    name                  text        NOT NULL,
    plan                  text        NOT NULL,
    region                text        NOT NULL,
    state                 text        NOT NULL CHECK (state IN ('provisioning', 'active', 'needs_attention', 'deprovisioned')),
    attention             text        NOT NULL DEFAULT '',   -- the reason somebody must act
    helper_app_id         text        NOT NULL DEFAULT '',
    helper_app            text        NOT NULL DEFAULT '',
    sealed_grant          bytea,
    grant_expires_at      timestamptz,
    sealed_access         bytea,
    access_expires_at     timestamptz,
    sealed_refresh        bytea,
    refresh_claimed_until timestamptz,                       -- one refresher per resource
    sealed_key            bytea,                             -- what archives are sealed to
    recipient             text        NOT NULL DEFAULT '',   -- its public half
    created_at            timestamptz NOT NULL,
    ready_at              timestamptz,
    checked_at            timestamptz,                       -- when attachments were last listed
    deprovisioned_at      timestamptz
);

-- The target of one attached credential. One row a Postgres add-on: attaching it again keeps its history.
CREATE TABLE databases (
    id             uuid        PRIMARY KEY,
    resource_id    uuid        NOT NULL REFERENCES resources,
    addon_id       text        NOT NULL,
    addon          text        NOT NULL,
    owner_app      text        NOT NULL,                     -- the app that the Postgres add-on belongs to
    attachment     text        NOT NULL,
    credential     text        NOT NULL,                     -- '' is the owner's own
    state          text        NOT NULL CHECK (state IN ('active', 'refused', 'detached')),
    problem        text        NOT NULL DEFAULT '',          -- why it is refused, for the customer
    server_version text        NOT NULL DEFAULT '',
    size_bytes     bigint      NOT NULL DEFAULT 0,
    found_at       timestamptz NOT NULL,
    seen_at        timestamptz NOT NULL,
    UNIQUE (resource_id, addon_id)
);

CREATE TABLE schedules (
    id          uuid        PRIMARY KEY,
    resource_id uuid        NOT NULL REFERENCES resources,
    database_id uuid        NOT NULL UNIQUE REFERENCES databases,
    minute      integer     NOT NULL CHECK (minute BETWEEN 0 AND 1439),   -- of the day, UTC
    next_run_at timestamptz NOT NULL
);
CREATE INDEX schedules_due ON schedules (next_run_at);

CREATE TABLE backups (
    id              uuid        PRIMARY KEY,
    resource_id     uuid        NOT NULL REFERENCES resources,
    database_id     uuid        NOT NULL REFERENCES databases,
    schedule_id     uuid        REFERENCES schedules,
    occurrence      timestamptz,
    requested_by    text        NOT NULL DEFAULT '',
    state           text        NOT NULL CHECK (state IN ('queued', 'running', 'verified', 'proven', 'failed', 'canceled',
                                                          'incomplete', 'expired', 'deleted')),
    reason          text        NOT NULL DEFAULT '',
    detail          text        NOT NULL DEFAULT '',         -- scrubbed words of whatever failed
    fix             text        NOT NULL DEFAULT '',         -- SQL that the customer can paste
    epoch           integer     NOT NULL DEFAULT 0,          -- of the newest run; an older run may finish nothing
    attempts        integer     NOT NULL DEFAULT 0,
    server_version  text        NOT NULL DEFAULT '',
    client_version  text        NOT NULL DEFAULT '',
    client_major    integer     NOT NULL DEFAULT 0,
    archive_version text        NOT NULL DEFAULT '',
    tables          integer     NOT NULL DEFAULT 0,
    plain_size      bigint      NOT NULL DEFAULT 0,          -- bytes of the archive
    stored_size     bigint      NOT NULL DEFAULT 0,          -- bytes in the store
    queued_at       timestamptz NOT NULL,
    started_at      timestamptz,
    ended_at        timestamptz,
    retry_at        timestamptz,
    UNIQUE (schedule_id, occurrence)
);
CREATE UNIQUE INDEX backups_one_live_per_database ON backups (database_id) WHERE state IN ('queued', 'running');
CREATE INDEX backups_by_database ON backups (database_id, queued_at DESC);

-- One attempt at a backup, held by a worker through a lease on this database's clock.
CREATE TABLE runs (
    id           uuid        PRIMARY KEY,
    resource_id  uuid        NOT NULL REFERENCES resources,
    backup_id    uuid        NOT NULL REFERENCES backups,
    epoch        integer     NOT NULL,
    worker       text        NOT NULL,
    state        text        NOT NULL CHECK (state IN ('claimed', 'dumping', 'confirming', 'done', 'failed', 'lost')),
    reason       text        NOT NULL DEFAULT '',
    lease_until  timestamptz NOT NULL,
    bytes        bigint      NOT NULL DEFAULT 0,
    tables_done  integer     NOT NULL DEFAULT 0,
    tables_total integer     NOT NULL DEFAULT 0,
    current      text        NOT NULL DEFAULT '',            -- the table being read
    started_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    UNIQUE (backup_id, epoch)
);
CREATE UNIQUE INDEX runs_one_live_per_backup ON runs (backup_id) WHERE state IN ('claimed', 'dumping', 'confirming');
CREATE INDEX runs_live_by_lease ON runs (lease_until) WHERE state IN ('claimed', 'dumping', 'confirming');
CREATE INDEX runs_live_by_resource ON runs (resource_id) WHERE state IN ('claimed', 'dumping', 'confirming');

-- What lies in the store for a backup that ended well. sha256 is of the stored bytes.
CREATE TABLE objects (
    backup_id   uuid    NOT NULL REFERENCES backups,
    resource_id uuid    NOT NULL REFERENCES resources,
    name        text    NOT NULL,
    size        bigint  NOT NULL,
    plain_size  bigint  NOT NULL,
    sha256      bytea   NOT NULL,
    PRIMARY KEY (backup_id, name)
);

-- token_hash is SHA-256; the token itself is never stored.
CREATE TABLE sessions (
    token_hash  bytea       PRIMARY KEY,
    resource_id uuid        NOT NULL REFERENCES resources,
    user_id     text        NOT NULL,
    email       text        NOT NULL,
    created_at  timestamptz NOT NULL,
    seen_at     timestamptz NOT NULL
);
CREATE INDEX sessions_by_resource ON sessions (resource_id);

CREATE TABLE sso_uses (
    token_hash  bytea       PRIMARY KEY,
    resource_id uuid        NOT NULL REFERENCES resources,
    used_at     timestamptz NOT NULL
);
CREATE INDEX sso_uses_by_time ON sso_uses (used_at);

CREATE TABLE links (
    id          uuid        PRIMARY KEY,
    resource_id uuid        NOT NULL REFERENCES resources,
    backup_id   uuid        NOT NULL REFERENCES backups,
    token_hash  bytea       NOT NULL UNIQUE,
    made_by     text        NOT NULL,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    revoked_at  timestamptz
);
CREATE INDEX links_by_backup ON links (backup_id);

CREATE TABLE audit_log (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resource_id uuid        NOT NULL REFERENCES resources,
    at          timestamptz NOT NULL,
    actor       text        NOT NULL,
    action      text        NOT NULL,
    subject     text        NOT NULL DEFAULT ''
);
CREATE INDEX audit_log_by_resource ON audit_log (resource_id, id);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['databases', 'schedules', 'backups', 'runs', 'objects', 'sessions', 'sso_uses', 'links', 'audit_log'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (remora_visible(resource_id)) WITH CHECK (remora_visible(resource_id))', t);
    END LOOP;
    ALTER TABLE resources ENABLE ROW LEVEL SECURITY;
    ALTER TABLE resources FORCE ROW LEVEL SECURITY;
    CREATE POLICY own_rows ON resources USING (remora_visible(id)) WITH CHECK (remora_visible(id));
END
$$;
-- +goose StatementEnd
