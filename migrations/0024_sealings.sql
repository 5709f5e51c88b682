-- +goose Up

-- Whose keys a resource's archives are sealed to, as somebody has set it. In force is the newest; where there is none,
-- the resource's own key alone is.
CREATE TABLE sealings (
    id          uuid        PRIMARY KEY,
    resource_id uuid        NOT NULL REFERENCES resources,
    recipients  text[]      NOT NULL,                -- the customer's own, age1…
    alone       boolean     NOT NULL,                -- the resource's key is not among those that open an archive
    shown       boolean     NOT NULL,                -- whoever set it has opened a message that was sealed to them
    set_by      text        NOT NULL,
    set_at      timestamptz NOT NULL,
    CHECK (NOT alone OR cardinality(recipients) > 0)
);
CREATE INDEX sealings_by_resource ON sealings (resource_id, set_at DESC);

SELECT remora_guard('sealings');

ALTER TABLE backups
    ADD COLUMN opened_by text[]  NOT NULL DEFAULT '{}',     -- fingerprints of the customer's own keys that open it
    ADD COLUMN alone     boolean NOT NULL DEFAULT false;    -- they alone open it: we cannot
