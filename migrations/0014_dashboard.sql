-- +goose Up

-- The migration itself works on everybody's rows.
SELECT set_config('remora.service', 'on', true);

-- When the attachments were last seen; checked_at is when a look at them was last begun, or is due to be.
ALTER TABLE resources ADD COLUMN listed_at timestamptz;
UPDATE resources SET listed_at = checked_at WHERE checked_at <= now() AND attention = '';

-- The attachment that carries the owner's credential of the same database beside the one that is used; '' where none does.
ALTER TABLE databases ADD COLUMN beside text NOT NULL DEFAULT '';

-- What lies in the store, without a look at what does not.
CREATE INDEX backups_stored ON backups (database_id) INCLUDE (stored_size) WHERE state IN ('verified', 'proven', 'incomplete', 'expired');
