-- +goose Up

-- The migration itself works on everybody's rows.
SELECT set_config('remora.service', 'on', true);

-- When the database's newest verified backup is to be restored, and when what is stored of a backup is to be read again.
-- NULL where nothing waits for it.
ALTER TABLE databases ADD COLUMN prove_at timestamptz;
ALTER TABLE backups ADD COLUMN reread_at timestamptz;
CREATE INDEX databases_to_prove ON databases (prove_at) WHERE prove_at IS NOT NULL;
CREATE INDEX backups_to_reread ON backups (reread_at) WHERE reread_at IS NOT NULL;

-- One look at what is stored of a backup, held by a verifier through a lease on this database's clock.
CREATE TABLE proofs (
    id             uuid        PRIMARY KEY,
    resource_id    uuid        NOT NULL REFERENCES resources,
    database_id    uuid        NOT NULL REFERENCES databases,
    backup_id      uuid        NOT NULL REFERENCES backups,
    kind           text        NOT NULL CHECK (kind IN ('reread', 'restore')),
    state          text        NOT NULL CHECK (state IN ('queued', 'running', 'passed', 'failed', 'impossible', 'lost')),
    requested_by   text        NOT NULL DEFAULT '',
    reason         text        NOT NULL DEFAULT '',
    detail         text        NOT NULL DEFAULT '',          -- what differs, or why it cannot be told
    left_out       text        NOT NULL DEFAULT '',          -- what was not restored or not compared
    epoch          integer     NOT NULL DEFAULT 0,           -- of the newest attempt; an older one may finish nothing
    attempts       integer     NOT NULL DEFAULT 0,
    worker         text        NOT NULL DEFAULT '',
    lease_until    timestamptz,
    current        text        NOT NULL DEFAULT '',
    done           bigint      NOT NULL DEFAULT 0,           -- bytes read so far
    server_version text        NOT NULL DEFAULT '',
    tables         integer     NOT NULL DEFAULT 0,
    rows           bigint      NOT NULL DEFAULT 0,
    bytes          bigint      NOT NULL DEFAULT 0,
    objects        boolean     NOT NULL DEFAULT false,       -- it was compared which objects there are
    queued_at      timestamptz NOT NULL,
    started_at     timestamptz,
    ended_at       timestamptz,
    retry_at       timestamptz
);
CREATE UNIQUE INDEX proofs_one_live ON proofs (backup_id, kind) WHERE state IN ('queued', 'running');
CREATE INDEX proofs_by_backup ON proofs (backup_id, queued_at DESC);
CREATE INDEX proofs_by_database ON proofs (database_id, kind, queued_at DESC);
CREATE INDEX proofs_live_by_lease ON proofs (lease_until) WHERE state = 'running';
CREATE INDEX proofs_live_by_resource ON proofs (resource_id) WHERE state IN ('queued', 'running');

ALTER TABLE proofs ENABLE ROW LEVEL SECURITY;
ALTER TABLE proofs FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON proofs USING (remora_visible(resource_id)) WITH CHECK (remora_visible(resource_id));

-- What was made before this release: read again within its 30 days, and each database's newest restored soon.
UPDATE backups SET reread_at = ended_at + interval '25 days' WHERE state IN ('verified', 'proven', 'incomplete');
UPDATE databases d SET prove_at = now()
 WHERE EXISTS (SELECT 1 FROM backups b WHERE b.database_id = d.id AND b.state = 'verified');
