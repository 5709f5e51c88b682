-- +goose Up

-- What opens the API for one resource. token_hash is SHA-256; the token itself is shown once and never stored. A row stays
-- for a while after its end, so that whoever still uses the token is told why it opens nothing.
CREATE TABLE api_tokens (
    id          uuid        PRIMARY KEY,
    resource_id uuid        NOT NULL REFERENCES resources,
    token_hash  bytea       NOT NULL UNIQUE,
    shown       text        NOT NULL,                        -- its end, to know it by
    name        text        NOT NULL,
    scope       text        NOT NULL CHECK (scope IN ('read', 'operate', 'admin')),
    made_by     text        NOT NULL,
    made_at     timestamptz NOT NULL,
    expires_at  timestamptz,                                 -- null where it does not
    used_at     timestamptz,
    used_from   text        NOT NULL DEFAULT '',
    revoked_at  timestamptz,
    revoked_by  text        NOT NULL DEFAULT ''
);
-- The audit log names a token by its name, so that two which are in use have not the same.
CREATE UNIQUE INDEX api_tokens_by_name ON api_tokens (resource_id, name) WHERE revoked_at IS NULL;
CREATE INDEX api_tokens_ended ON api_tokens ((coalesce(revoked_at, expires_at)));
ALTER TABLE api_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON api_tokens USING (remora_visible(resource_id)) WITH CHECK (remora_visible(resource_id));
