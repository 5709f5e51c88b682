-- +goose Up

-- How fresh a database's backups are, as its watcher last saw it, and what was told of that. Written by the watcher alone.
CREATE TABLE freshness (
    database_id uuid        PRIMARY KEY REFERENCES databases,
    resource_id uuid        NOT NULL REFERENCES resources,
    state       text        NOT NULL CHECK (state IN ('fresh', 'late', 'stale', 'paused', 'never')),
    since       timestamptz NOT NULL,
    told        text        NOT NULL DEFAULT '' CHECK (told IN ('', 'late', 'stale')),
    told_at     timestamptz,
    overdue     boolean     NOT NULL DEFAULT false,           -- it was told that a proof is overdue
    counts_from timestamptz NOT NULL                          -- since when its promise counts: found, or resumed
);

-- A public picture of a database's freshness, for whoever knows its address.
CREATE TABLE badges (
    database_id  uuid        PRIMARY KEY REFERENCES databases,
    resource_id  uuid        NOT NULL REFERENCES resources,
    token_hash   bytea       NOT NULL UNIQUE,
    sealed_token bytea       NOT NULL,                        -- to show the address again
    named        boolean     NOT NULL DEFAULT false,          -- it shows the database's name
    made_by      text        NOT NULL,
    made_at      timestamptz NOT NULL
);

-- The customer's own watch (healthchecks.io and the like) that is called after each backup.
CREATE TABLE pings (
    database_id    uuid        PRIMARY KEY REFERENCES databases,
    resource_id    uuid        NOT NULL REFERENCES resources,
    shown          text        NOT NULL,                      -- the address, masked
    sealed_address bytea       NOT NULL,
    starts         boolean     NOT NULL DEFAULT false,        -- it is called when a backup begins, too
    set_by         text        NOT NULL,
    set_at         timestamptz NOT NULL,
    asked          uuid,                                      -- the newest call that says how a backup ended
    last_kind      text        NOT NULL DEFAULT '',
    last_ok        boolean     NOT NULL DEFAULT false,
    last_outcome   text        NOT NULL DEFAULT '',
    last_at        timestamptz
);

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['freshness', 'badges', 'pings'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (remora_visible(resource_id)) WITH CHECK (remora_visible(resource_id))', t);
    END LOOP;
END
$$;
-- +goose StatementEnd
