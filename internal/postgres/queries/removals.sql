-- name: InsertRemoval :exec
-- With what is held now; what lies in the customer's own bucket is not held by us. One that there is already stays as it is.
INSERT INTO removals (resource_id, token_hash, sealed_token, asked_at, undo_until, databases, backups, objects, bytes)
SELECT sqlc.arg(resource_id), sqlc.narg(token_hash), sqlc.narg(sealed_token), sqlc.arg(asked_at), sqlc.arg(undo_until),
       (SELECT count(*) FROM databases d WHERE d.resource_id = sqlc.arg(resource_id)), count(*), coalesce(sum(o.n), 0), coalesce(sum(o.bytes), 0)
  FROM databases d JOIN backups b ON b.database_id = d.id
  CROSS JOIN LATERAL (SELECT count(*) AS n, sum(x.size) AS bytes FROM objects x WHERE x.backup_id = b.id) o
 WHERE d.resource_id = sqlc.arg(resource_id) AND b.state IN ('verified', 'proven', 'incomplete', 'expired') AND b.bucket_id IS NULL
ON CONFLICT (resource_id) DO NOTHING;

-- name: DeleteRemoval :exec
DELETE FROM removals WHERE resource_id = sqlc.arg(resource_id);

-- name: LockRemoval :one
SELECT * FROM removals WHERE resource_id = sqlc.arg(resource_id) FOR NO KEY UPDATE;

-- name: GetRemoval :one
SELECT * FROM removals WHERE resource_id = sqlc.arg(resource_id);

-- name: FindRemoval :one
-- For whoever knows the receipt's address. In the service's scope.
SELECT * FROM removals WHERE token_hash = sqlc.arg(token_hash);

-- name: RemovedWithoutRemoval :many
-- By a process of an older release. In the service's scope; an id that was removed before it was ever here has nothing.
SELECT r.id, r.deprovisioned_at::timestamptz AS at FROM resources r
 WHERE r.state = 'deprovisioned' AND (r.name <> '' OR r.sealed_key IS NOT NULL) AND NOT EXISTS (SELECT FROM removals m WHERE m.resource_id = r.id)
 ORDER BY r.id LIMIT sqlc.arg(most);

-- name: KeysToDestroy :many
-- Of those that can be undone no longer, in the service's scope. A process of an older release destroys a key and leaves its copies in the bucket.
SELECT m.resource_id FROM removals m JOIN resources r ON r.id = m.resource_id
 WHERE m.undo_until <= sqlc.arg(now) AND m.forgotten_at IS NULL AND (m.key_destroyed_at IS NULL OR r.key_copies <> '{}') AND r.state = 'deprovisioned' AND m.resource_id > sqlc.arg(after)
 ORDER BY m.resource_id LIMIT sqlc.arg(most);

-- name: DestroyKey :execrows
-- Its copies in the bucket are gone already. Of one whose removal was undone at that moment the key stays, and is copied again.
WITH removed AS (SELECT r.id FROM removals m JOIN resources r ON r.id = m.resource_id
                  WHERE r.id = sqlc.arg(resource_id) AND m.key_destroyed_at IS NULL AND m.undo_until <= sqlc.arg(now) AND r.state = 'deprovisioned' FOR NO KEY UPDATE OF r),
     none AS (UPDATE resources SET key_copies = '{}', sealed_key = CASE WHEN EXISTS (SELECT FROM removed) THEN NULL ELSE sealed_key END,
                     recipient = CASE WHEN EXISTS (SELECT FROM removed) THEN '' ELSE recipient END
               WHERE resources.id = sqlc.arg(resource_id)),
     left_be AS (UPDATE buckets x SET access_key = '', sealed_secret = NULL, delete_access_key = '', sealed_delete_secret = NULL FROM removed WHERE x.resource_id = removed.id)
UPDATE removals m SET key_destroyed_at = sqlc.arg(now) FROM removed WHERE m.resource_id = removed.id;

-- name: RemovalsToDelete :many
-- Whose key is destroyed, and which were asked for so long ago that no run goes on. In the service's scope.
SELECT resource_id FROM removals
 WHERE forgotten_at IS NULL AND key_destroyed_at IS NOT NULL AND objects_deleted_at IS NULL AND asked_at <= sqlc.arg(before) AND resource_id > sqlc.arg(after)
 ORDER BY resource_id LIMIT sqlc.arg(most);

-- name: NoteDeleted :exec
-- What an attempt has deleted. Without a problem nothing is left; what another attempt has deleted meanwhile still counts.
UPDATE removals
   SET deleted_objects = deleted_objects + sqlc.arg(objects), deleted_bytes = deleted_bytes + sqlc.arg(bytes), aborted_uploads = aborted_uploads + sqlc.arg(uploads),
       attempts = attempts + 1, problem = CASE WHEN objects_deleted_at IS NULL THEN sqlc.arg(problem)::text ELSE '' END,
       objects_deleted_at = coalesce(objects_deleted_at, CASE WHEN sqlc.arg(problem)::text = '' THEN sqlc.arg(now)::timestamptz END)
 WHERE resource_id = sqlc.arg(resource_id);

-- name: RemovalsToForget :many
-- With nothing stored any more, and nobody left to tell. In the service's scope.
SELECT m.resource_id FROM removals m
 WHERE m.forgotten_at IS NULL AND m.objects_deleted_at IS NOT NULL AND m.resource_id > sqlc.arg(after)
   AND (m.asked_at <= sqlc.arg(told_before) OR NOT EXISTS (SELECT FROM channels c WHERE c.resource_id = m.resource_id AND c.removed_at IS NULL))
 ORDER BY m.resource_id LIMIT sqlc.arg(most);

-- name: CountLateRemovals :one
-- Of which the key or something stored is still there. In the service's scope.
SELECT count(*) FROM removals WHERE forgotten_at IS NULL AND objects_deleted_at IS NULL AND undo_until < sqlc.arg(before);

-- name: ForgetJobs :one
-- The jobs that name the resource or something of it, in their arguments or their errors, but for those that run: those are counted.
WITH named AS (SELECT j.id, j.state FROM river.river_job j
                WHERE strpos(j.args::text || coalesce(j.errors::text, ''), sqlc.arg(resource_id)::uuid::text) > 0
                   OR j.args->>'database_id' IN (SELECT d.id::text FROM databases d WHERE d.resource_id = sqlc.arg(resource_id))
                   OR j.args->>'backup_id' IN (SELECT b.id::text FROM databases d JOIN backups b ON b.database_id = d.id WHERE d.resource_id = sqlc.arg(resource_id))
                   OR j.args->>'proof_id' IN (SELECT p.id::text FROM databases d JOIN proofs p ON p.database_id = d.id WHERE d.resource_id = sqlc.arg(resource_id))
                   OR j.args->>'delivery_id' IN (SELECT x.id::text FROM deliveries x WHERE x.resource_id = sqlc.arg(resource_id))),
     gone AS (DELETE FROM river.river_job WHERE id IN (SELECT id FROM named WHERE state <> 'running'))
SELECT count(*) FROM named WHERE state = 'running';

-- name: ForgetRows :exec
-- Every row of the resource but its own and its removal. One statement, so that it does not matter what points at what.
WITH d  AS (SELECT databases.id FROM databases WHERE databases.resource_id = sqlc.arg(resource_id)),
     b  AS (SELECT id FROM backups WHERE database_id IN (SELECT id FROM d)),
     x1 AS (DELETE FROM objects WHERE backup_id IN (SELECT id FROM b)),
     w1 AS (DELETE FROM copies WHERE copies.resource_id = sqlc.arg(resource_id)),
     x2 AS (DELETE FROM runs WHERE backup_id IN (SELECT id FROM b)),
     x3 AS (DELETE FROM links WHERE backup_id IN (SELECT id FROM b)),
     x4 AS (DELETE FROM occurrences WHERE database_id IN (SELECT id FROM d)),
     x5 AS (DELETE FROM proofs WHERE database_id IN (SELECT id FROM d)),
     x6 AS (DELETE FROM audits WHERE database_id IN (SELECT id FROM d)),
     x7 AS (DELETE FROM locks WHERE database_id IN (SELECT id FROM d)),
     x8 AS (DELETE FROM retentions WHERE database_id IN (SELECT id FROM d)),
     x9 AS (DELETE FROM acknowledgements WHERE database_id IN (SELECT id FROM d)),
     y1 AS (DELETE FROM freshness WHERE database_id IN (SELECT id FROM d)),
     y2 AS (DELETE FROM badges WHERE database_id IN (SELECT id FROM d)),
     y3 AS (DELETE FROM pings WHERE database_id IN (SELECT id FROM d)),
     y4 AS (DELETE FROM schedules WHERE database_id IN (SELECT id FROM d)),
     y5 AS (DELETE FROM backups WHERE id IN (SELECT id FROM b)),
     y7 AS (DELETE FROM buckets WHERE buckets.resource_id = sqlc.arg(resource_id)),
     y6 AS (DELETE FROM databases WHERE id IN (SELECT id FROM d)),
     c  AS (SELECT channels.id FROM channels WHERE channels.resource_id = sqlc.arg(resource_id)),
     z1 AS (DELETE FROM news WHERE channel_id IN (SELECT id FROM c)),
     z2 AS (DELETE FROM deliveries WHERE channel_id IN (SELECT id FROM c)),
     z3 AS (DELETE FROM channels WHERE id IN (SELECT id FROM c)),
     z4 AS (DELETE FROM events WHERE events.resource_id = sqlc.arg(resource_id)),
     z5 AS (DELETE FROM sso_uses WHERE sso_uses.resource_id = sqlc.arg(resource_id)),
     z6 AS (DELETE FROM api_tokens WHERE api_tokens.resource_id = sqlc.arg(resource_id)),
     z7 AS (DELETE FROM audit_log WHERE audit_log.resource_id = sqlc.arg(resource_id)),
     z8 AS (DELETE FROM audit_chains WHERE audit_chains.resource_id = sqlc.arg(resource_id)),
     z9 AS (DELETE FROM sealings WHERE sealings.resource_id = sqlc.arg(resource_id))
DELETE FROM sessions WHERE sessions.resource_id = sqlc.arg(resource_id);

-- name: LeaveTombstone :exec
UPDATE resources
   SET name = '', plan = '', region = '', attention = '', helper_app_id = '', helper_app = '', sealed_grant = NULL, grant_expires_at = NULL,
       sealed_access = NULL, access_expires_at = NULL, sealed_refresh = NULL, refresh_claimed_until = NULL, sealed_key = NULL, recipient = '',
       ready_at = NULL, checked_at = NULL, listed_at = NULL, shrinks_from = '', shrinks_at = NULL, over_since = NULL, served_at = NULL
 WHERE id = sqlc.arg(resource_id) AND state = 'deprovisioned';

-- name: EndRemoval :exec
UPDATE removals SET forgotten_at = sqlc.arg(now), sealed_token = NULL, problem = '', audit_lines = sqlc.arg(audit_lines), audit_hash = sqlc.arg(audit_hash)
 WHERE resource_id = sqlc.arg(resource_id);

-- name: Undeprovision :exec
-- Its tokens are gone, and only Heroku can give others. Whether the bucket still has a copy of its key is looked at anew.
UPDATE resources SET state = 'needs_attention', attention = 'token_revoked', deprovisioned_at = NULL, key_copies = '{}'
 WHERE id = sqlc.arg(resource_id) AND state = 'deprovisioned';

-- name: EndedSchedules :many
SELECT * FROM schedules WHERE resource_id = sqlc.arg(resource_id) FOR NO KEY UPDATE;
