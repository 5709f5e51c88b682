-- +goose Up

-- For what forgets old events and channels: the oldest first, and whether a message still tells of them.
CREATE INDEX events_by_time ON events (at);
CREATE INDEX news_by_event ON news (event_id);
CREATE INDEX channels_removed ON channels (removed_at) WHERE removed_at IS NOT NULL;
