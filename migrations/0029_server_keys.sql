-- +goose Up

-- By what a database's server is known, where no authority vouches for its certificate.
ALTER TABLE databases
    ADD COLUMN server_at        text        NOT NULL DEFAULT '',  -- host and port, as the config var had them when the key was taken
    ADD COLUMN server_key       bytea,                            -- SHA-256 of its certificate's public key; null before the first look
    ADD COLUMN server_key_at    timestamptz,                      -- when it was taken
    ADD COLUMN server_key_asked bytea;                            -- another one that it has shown there since, which nobody has answered for
