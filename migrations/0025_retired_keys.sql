-- +goose Up

-- What is kept of a key that has left the ring, or may: the part of it that checks manifests which it signed. It opens
-- nothing. Nobody's rows; for the service alone.
CREATE TABLE retired_keys (
    id             text        NOT NULL,             -- the key's, which no other key may ever have
    purpose        text        NOT NULL,
    sealed_mac_key bytea       NOT NULL,
    retired_at     timestamptz NOT NULL,
    PRIMARY KEY (id, purpose)
);
ALTER TABLE retired_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE retired_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY of_the_service ON retired_keys USING (current_setting('remora.service', true) = 'on') WITH CHECK (current_setting('remora.service', true) = 'on');
