-- +goose Up

-- What happened that a customer should hear of. Written in the transaction in which it happened.
CREATE TABLE events (
    id          uuid        PRIMARY KEY,
    resource_id uuid        NOT NULL REFERENCES resources,
    database_id uuid        REFERENCES databases,             -- null where it is about the add-on as a whole
    backup_id   uuid        REFERENCES backups,
    kind        text        NOT NULL,
    reason      text        NOT NULL DEFAULT '',
    detail      text        NOT NULL DEFAULT '',
    at          timestamptz NOT NULL
);
CREATE INDEX events_by_resource ON events (resource_id, at DESC);
CREATE INDEX events_by_database ON events (database_id, at DESC) WHERE database_id IS NOT NULL;

-- Where a customer wants to hear of it. A removed one keeps its row, for the log, and loses its secrets.
CREATE TABLE channels (
    id             uuid        PRIMARY KEY,
    resource_id    uuid        NOT NULL REFERENCES resources,
    kind           text        NOT NULL CHECK (kind IN ('log_stream', 'email', 'webhook', 'slack')),
    shown          text        NOT NULL,                      -- the address, masked
    sealed_address bytea,
    sealed_secret  bytea,                                     -- what a webhook is signed with, what a mail's links carry
    address_mac    bytea       NOT NULL,                      -- to tell the same address from another
    token_hash     bytea       UNIQUE,                        -- of what a mail's links carry
    mutes          text[]      NOT NULL DEFAULT '{}',         -- the kinds of event that it does not want
    enabled        boolean     NOT NULL DEFAULT true,
    problem        text        NOT NULL DEFAULT '',           -- why the last delivery was given up
    added_by       text        NOT NULL,
    added_at       timestamptz NOT NULL,
    confirmed_at   timestamptz,                               -- null for an e-mail address that has not asked for it
    removed_at     timestamptz,
    wake_at        timestamptz                                -- when what waits for it is looked at again
);
CREATE INDEX channels_by_resource ON channels (resource_id);
CREATE UNIQUE INDEX channels_one_log_stream ON channels (resource_id) WHERE kind = 'log_stream' AND removed_at IS NULL;
CREATE INDEX channels_by_address ON channels (address_mac, added_at);

-- One message to one channel.
CREATE TABLE deliveries (
    id          uuid        PRIMARY KEY,
    resource_id uuid        NOT NULL REFERENCES resources,
    channel_id  uuid        NOT NULL REFERENCES channels,
    kind        text        NOT NULL CHECK (kind IN ('news', 'reminder', 'test', 'confirmation')),
    state       text        NOT NULL CHECK (state IN ('queued', 'sent', 'failed')),
    attempts    integer     NOT NULL DEFAULT 0,
    outcome     text        NOT NULL DEFAULT '',              -- what the other side said, or why it was given up
    queued_at   timestamptz NOT NULL,
    ended_at    timestamptz
);
CREATE INDEX deliveries_by_resource ON deliveries (resource_id, queued_at DESC);
CREATE INDEX deliveries_by_time ON deliveries (queued_at);
CREATE INDEX deliveries_by_channel ON deliveries (channel_id, queued_at DESC);

-- An event that a channel is to hear of: waiting, held back because the channel knows, or told with a delivery.
CREATE TABLE news (
    channel_id  uuid        NOT NULL REFERENCES channels,
    event_id    uuid        NOT NULL REFERENCES events,
    resource_id uuid        NOT NULL REFERENCES resources,
    state       text        NOT NULL CHECK (state IN ('waiting', 'held', 'told')),
    delivery_id uuid        REFERENCES deliveries,            -- of what is told, and of what was held back until it
    told_at     timestamptz,
    PRIMARY KEY (channel_id, event_id)
);
CREATE INDEX news_waiting ON news (channel_id) WHERE state = 'waiting';
CREATE INDEX news_by_delivery ON news (delivery_id) WHERE delivery_id IS NOT NULL;

-- +goose StatementBegin
DO $$
DECLARE t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['events', 'channels', 'deliveries', 'news'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own_rows ON %I USING (remora_visible(resource_id)) WITH CHECK (remora_visible(resource_id))', t);
    END LOOP;
END
$$;
-- +goose StatementEnd
