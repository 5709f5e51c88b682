-- +goose Up

-- A detached database whose backups a person wants gone. Until forget_at it can be undone, and attaching it again undoes it;
-- then the deleter lets its backups go, and once none is left it is forgotten: no page shows it any more.
ALTER TABLE databases
    ADD COLUMN forget_at    timestamptz,                      -- null where nobody asked for it
    ADD COLUMN forget_by    text        NOT NULL DEFAULT '',
    ADD COLUMN forgotten_at timestamptz;                      -- null while it is shown

CREATE INDEX databases_to_forget ON databases (forget_at) WHERE forget_at IS NOT NULL AND forgotten_at IS NULL;

-- For whoever counts, or ends, what still opens something.
CREATE INDEX links_by_resource ON links (resource_id) WHERE revoked_at IS NULL;
