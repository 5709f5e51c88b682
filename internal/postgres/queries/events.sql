-- name: InsertEvent :exec
-- Of a backup's event the database is known.
INSERT INTO events (id, resource_id, database_id, backup_id, kind, reason, detail, at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id),
        coalesce(sqlc.narg(database_id), (SELECT b.database_id FROM backups b WHERE b.id = sqlc.narg(backup_id) AND b.resource_id = sqlc.arg(resource_id))),
        sqlc.narg(backup_id), sqlc.arg(kind), sqlc.arg(reason), sqlc.arg(detail), sqlc.arg(now));

-- name: InsertNews :execrows
-- For every channel that wants to hear of it.
INSERT INTO news (channel_id, event_id, resource_id, state)
SELECT c.id, sqlc.arg(event_id), c.resource_id, 'waiting' FROM channels c
 WHERE c.resource_id = sqlc.arg(resource_id) AND c.enabled AND c.confirmed_at IS NOT NULL AND c.removed_at IS NULL
   AND NOT (sqlc.arg(kind)::text = ANY (c.mutes));

-- name: LastEvent :one
-- Of these kinds, of a database.
SELECT kind FROM events
 WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id) AND kind = ANY (sqlc.arg(kinds)::text[])
 ORDER BY at DESC, id DESC LIMIT 1;

-- name: LastDetail :one
-- Of the newest event of a kind, of a database.
SELECT detail FROM events
 WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id) AND kind = sqlc.arg(kind) ORDER BY at DESC, id DESC LIMIT 1;

-- name: CountEvents :one
-- Of a kind, of a resource, since.
SELECT count(*) FROM events WHERE resource_id = sqlc.arg(resource_id) AND at > sqlc.arg(since) AND kind = sqlc.arg(kind);

-- name: WasGoodBefore :one
-- Whether a database had a verified backup other than this one.
SELECT EXISTS (SELECT 1 FROM backups WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id)
                  AND id <> sqlc.arg(backup_id) AND state IN ('verified', 'proven', 'expired', 'deleted')) AS good;

-- name: ListEvents :many
SELECT e.* FROM events e
 WHERE e.resource_id = sqlc.arg(resource_id)
   AND (sqlc.narg(before)::timestamptz IS NULL OR e.at < sqlc.narg(before)::timestamptz OR e.at = sqlc.narg(before)::timestamptz AND e.id > sqlc.narg(before_id)::uuid)
 ORDER BY e.at DESC, e.id LIMIT sqlc.arg(most);

-- name: PurgeEvents :execrows
-- In the service's scope: old events of which no message tells, but for the newest of each database and kind.
DELETE FROM events WHERE id IN (
    SELECT e.id FROM events e
     WHERE e.at < sqlc.arg(before) AND NOT EXISTS (SELECT 1 FROM news n WHERE n.event_id = e.id)
       AND EXISTS (SELECT 1 FROM events x
                    WHERE x.resource_id = e.resource_id AND x.at > e.at AND x.kind = e.kind AND x.database_id IS NOT DISTINCT FROM e.database_id)
     ORDER BY e.at LIMIT sqlc.arg(most));
