-- name: ListRetentions :many
-- What was not undone: at most one whose time has not come, and before it the one in force.
SELECT * FROM retentions
 WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id) AND undone_at IS NULL
 ORDER BY effective_at DESC, set_at DESC LIMIT 2;

-- name: InsertRetention :exec
INSERT INTO retentions (id, resource_id, database_id, last, days, hourly, daily, weekly, monthly, yearly, zone, set_by, set_at, effective_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(database_id), sqlc.arg(last), sqlc.arg(days), sqlc.arg(hourly), sqlc.arg(daily),
        sqlc.arg(weekly), sqlc.arg(monthly), sqlc.arg(yearly), sqlc.arg(zone), sqlc.arg(set_by), sqlc.arg(now), sqlc.arg(effective_at));

-- name: UndoRetention :execrows
-- What has not come into force yet.
UPDATE retentions SET undone_at = sqlc.arg(now), undone_by = sqlc.arg(undone_by)
 WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id) AND undone_at IS NULL AND effective_at > sqlc.arg(now);

-- name: BackupsToKeep :many
-- What retention decides on, of what is stored of a database, be it damaged, and what is being made, newest first.
SELECT id, state, reason, queued_at, started_at, ended_at, damaged_at, stored_size FROM backups
 WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id)
   AND (state IN ('verified', 'proven', 'incomplete', 'queued', 'running') OR state = 'failed' AND reason = 'stored_object_damaged')
 ORDER BY queued_at DESC LIMIT sqlc.arg(most);

-- name: ListLocks :many
SELECT * FROM locks WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id) ORDER BY locked_at DESC, backup_id;

-- name: LockForGood :exec
-- That a customer keeps a backup, and no lock of a row.
INSERT INTO locks (backup_id, resource_id, database_id, note, locked_by, locked_at)
VALUES (sqlc.arg(backup_id), sqlc.arg(resource_id), sqlc.arg(database_id), sqlc.arg(note), sqlc.arg(locked_by), sqlc.arg(now))
ON CONFLICT (backup_id) DO UPDATE
   SET note = excluded.note, locked_by = excluded.locked_by, locked_at = excluded.locked_at, released_at = NULL, released_by = '';

-- name: ReleaseLock :execrows
UPDATE locks SET released_at = sqlc.arg(now), released_by = sqlc.arg(released_by)
 WHERE backup_id = sqlc.arg(backup_id) AND resource_id = sqlc.arg(resource_id) AND released_at IS NULL;

-- name: DatabasesWithArchives :many
-- For the round over all of them, but for what was rebuilt and is nobody knows which database's: of several, the last of one could
-- go as one of many. Runs in the service's scope.
SELECT d.id, d.resource_id FROM databases d JOIN resources r ON r.id = d.resource_id
 WHERE d.id > sqlc.arg(after) AND r.state IN ('active', 'needs_attention') AND d.addon_id <> sqlc.arg(nameless)
   AND EXISTS (SELECT 1 FROM backups b WHERE b.database_id = d.id
                AND (b.state IN ('verified', 'proven', 'incomplete') OR b.state = 'failed' AND b.reason = 'stored_object_damaged'))
 ORDER BY d.id LIMIT sqlc.arg(most);

-- name: UnknownBackups :many
-- Runs in the service's scope: an id of another resource's is known too.
SELECT a.id::text FROM unnest(sqlc.arg(backups)::uuid[]) a(id) WHERE NOT EXISTS (SELECT 1 FROM backups b WHERE b.id = a.id);

-- name: LockExpirable :many
-- Those that nobody is at work on: a proof that runs or that a person waits for, or a link by which a download may be
-- running. A proof that only waits is canceled when its turn comes.
SELECT b.id FROM backups b
 WHERE b.id = ANY (sqlc.arg(ids)::uuid[]) AND b.resource_id = sqlc.arg(resource_id)
   AND (b.state IN ('verified', 'proven', 'incomplete') OR b.state = 'failed' AND b.reason = 'stored_object_damaged')
   AND NOT EXISTS (SELECT 1 FROM proofs p WHERE p.backup_id = b.id AND (p.state = 'running' OR p.state = 'queued' AND p.requested_by <> ''))
   AND NOT EXISTS (SELECT 1 FROM links l WHERE l.backup_id = b.id AND l.revoked_at IS NULL AND l.used_at > sqlc.arg(used_since))
 FOR NO KEY UPDATE OF b SKIP LOCKED;

-- name: ExpireBackups :exec
-- Each with why it goes.
UPDATE backups b
   SET state = 'expired', expired_at = sqlc.arg(now), expired_because = u.because, delete_at = sqlc.arg(delete_at), reread_at = NULL
  FROM (SELECT unnest(sqlc.arg(ids)::uuid[]) AS id, unnest(sqlc.arg(because)::text[]) AS because) u
 WHERE b.id = u.id AND b.resource_id = sqlc.arg(resource_id);

-- name: AuditExpired :exec
INSERT INTO audit_log (resource_id, at, actor, action, subject)
SELECT sqlc.arg(resource_id), sqlc.arg(now), sqlc.arg(actor), 'expire backup', unnest(sqlc.arg(ids)::text[]);

-- name: RevokeLinksOf :exec
UPDATE links SET revoked_at = sqlc.arg(now)
 WHERE backup_id = ANY (sqlc.arg(backups)::uuid[]) AND resource_id = sqlc.arg(resource_id) AND revoked_at IS NULL;

-- name: FindDeletion :one
-- For a job, which knows the backup only. Runs in the service's scope.
SELECT b.resource_id, b.state, b.delete_at,
       (EXISTS (SELECT 1 FROM proofs p WHERE p.backup_id = b.id AND p.state = 'running')
        OR EXISTS (SELECT 1 FROM copies c WHERE c.backup_id = b.id AND c.lease_until >= now()))::boolean AS being_read
  FROM backups b WHERE b.id = sqlc.arg(id);

-- name: EndDeletion :execrows
UPDATE backups SET state = 'deleted', deleted_at = sqlc.arg(now), delete_problem = '', theirs_left_at = NULL
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND state = 'expired';

-- name: DropObjects :exec
DELETE FROM objects WHERE backup_id = sqlc.arg(backup_id) AND resource_id = sqlc.arg(resource_id);

-- name: FailDeletion :exec
UPDATE backups SET delete_attempts = delete_attempts + 1, delete_problem = sqlc.arg(problem)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND state = 'expired';

-- name: LockStrandedDeletions :many
-- To be deleted, and no job will.
SELECT b.id FROM backups b
 WHERE b.state = 'expired' AND b.delete_at < sqlc.arg(before)
   AND NOT EXISTS (SELECT 1 FROM river.river_job j
                    WHERE j.kind = 'delete_backup' AND j.args @> jsonb_build_object('backup_id', b.id)
                      AND (j.state IN ('available', 'pending', 'scheduled', 'retryable')
                           OR j.state = 'running' AND j.attempted_at > now() - sqlc.arg(lease)::interval))
 ORDER BY b.delete_at LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF b SKIP LOCKED;

-- name: CountOverdueDeletions :one
-- In our own bucket: what is wrong with another one is its owner's to mend.
SELECT count(*) FROM backups WHERE state = 'expired' AND delete_at < sqlc.arg(before) AND bucket_id IS NULL AND theirs_left_at IS NULL;
