-- name: BucketOfCopies :one
-- That takes a copy of what is made in ours. Beside one that is in use there is none. A release that does not know of copies removes one that
-- takes some.
SELECT * FROM buckets x
 WHERE x.resource_id = sqlc.arg(resource_id) AND x.takes_copies AND x.removed_at IS NULL AND NOT EXISTS (SELECT FROM buckets u WHERE u.resource_id = x.resource_id AND u.in_use);

-- name: QueueCopy :execrows
-- A new one, or one that was not made; one that is queued, or was made, stays as it is. It is to be tidied up after from the start: a
-- release that does not know it deletes the backup without it.
INSERT INTO copies (backup_id, bucket_id, resource_id, state, asked_at, due_at, tidy_at)
VALUES (sqlc.arg(backup_id), sqlc.arg(bucket_id), sqlc.arg(resource_id), 'queued', sqlc.arg(now), sqlc.arg(now), sqlc.arg(now)::timestamptz)
ON CONFLICT (backup_id, bucket_id) DO UPDATE
   SET state = 'queued', reason = '', detail = '', attempts = 0, asked_at = excluded.asked_at, due_at = excluded.due_at, ended_at = NULL, tidy_at = excluded.tidy_at
 WHERE copies.state IN ('failed', 'stopped');

-- name: ListCopies :many
-- Of a backup, the newest first.
SELECT sqlc.embed(c), sqlc.embed(x), (coalesce(c.lease_until, '-infinity') >= now())::boolean AS running
  FROM copies c JOIN buckets x ON x.id = c.bucket_id
 WHERE c.backup_id = sqlc.arg(backup_id) AND c.resource_id = sqlc.arg(resource_id) ORDER BY c.asked_at DESC, c.bucket_id;

-- name: LockCopy :one
SELECT sqlc.embed(c), (coalesce(c.lease_until, '-infinity') >= now())::boolean AS held
  FROM copies c WHERE c.backup_id = sqlc.arg(backup_id) AND c.bucket_id = sqlc.arg(bucket_id) AND c.resource_id = sqlc.arg(resource_id) FOR NO KEY UPDATE;

-- name: CountLiveCopies :one
SELECT count(*) FROM copies WHERE resource_id = sqlc.arg(resource_id) AND lease_until >= now();

-- name: CopyWaits :one
SELECT EXISTS (SELECT FROM copies WHERE resource_id = sqlc.arg(resource_id) AND backup_id <> sqlc.arg(backup_id) AND lease_until >= now());

-- name: StartCopy :exec
UPDATE copies SET epoch = sqlc.arg(epoch), attempts = attempts + 1, lease_until = now() + sqlc.arg(lease)::interval
 WHERE backup_id = sqlc.arg(backup_id) AND bucket_id = sqlc.arg(bucket_id) AND resource_id = sqlc.arg(resource_id);

-- name: BeatCopy :execrows
UPDATE copies SET lease_until = now() + sqlc.arg(lease)::interval
 WHERE backup_id = sqlc.arg(backup_id) AND bucket_id = sqlc.arg(bucket_id) AND resource_id = sqlc.arg(resource_id)
   AND epoch = sqlc.arg(epoch) AND state = 'queued' AND lease_until >= now();

-- name: EndCopy :execrows
UPDATE copies
   SET state = sqlc.arg(state), reason = sqlc.arg(reason), detail = sqlc.arg(detail), bytes = sqlc.arg(bytes), lease_until = NULL, ended_at = sqlc.arg(now)
 WHERE backup_id = sqlc.arg(backup_id) AND bucket_id = sqlc.arg(bucket_id) AND resource_id = sqlc.arg(resource_id)
   AND epoch = sqlc.arg(epoch) AND state = 'queued';

-- name: RequeueCopy :execrows
UPDATE copies
   SET reason = sqlc.arg(reason), detail = sqlc.arg(detail), due_at = sqlc.arg(due_at), attempts = attempts - sqlc.arg(uncounted), lease_until = NULL
 WHERE backup_id = sqlc.arg(backup_id) AND bucket_id = sqlc.arg(bucket_id) AND resource_id = sqlc.arg(resource_id)
   AND epoch = sqlc.arg(epoch) AND state = 'queued';

-- name: LetGoOfCopy :exec
-- Of an attempt that was overtaken, or whose copy was stopped: nobody is at it any more. What it has written after its backup's end
-- is nobody's.
UPDATE copies c
   SET lease_until = NULL,
       tidy_at = CASE WHEN EXISTS (SELECT FROM backups b WHERE b.id = c.backup_id AND b.state IN ('expired', 'deleted')) THEN sqlc.arg(now) ELSE c.tidy_at END
 WHERE c.backup_id = sqlc.arg(backup_id) AND c.bucket_id = sqlc.arg(bucket_id) AND c.resource_id = sqlc.arg(resource_id) AND c.epoch = sqlc.arg(epoch);

-- name: StopCopies :exec
-- Those that are to be made, or are being, in whichever bucket but one, where that is given.
UPDATE copies SET state = 'stopped', reason = '', detail = '', ended_at = sqlc.arg(now)
 WHERE resource_id = sqlc.arg(resource_id) AND state = 'queued' AND bucket_id IS DISTINCT FROM sqlc.narg(keep);

-- name: StopCopiesOf :exec
-- Those of these backups, in whichever bucket.
UPDATE copies SET state = 'stopped', reason = '', detail = '', ended_at = sqlc.arg(now)
 WHERE resource_id = sqlc.arg(resource_id) AND state = 'queued' AND backup_id = ANY (sqlc.arg(backups)::uuid[]);

-- name: LockStrandedCopies :many
-- Queued, with nobody at them, and no job will be.
SELECT c.backup_id, c.bucket_id, c.attempts, (SELECT x.region FROM resources x WHERE x.id = c.resource_id)::text AS region FROM copies c
 WHERE c.state = 'queued' AND c.due_at < sqlc.arg(before) AND (c.lease_until IS NULL OR c.lease_until < now())
   AND NOT EXISTS (SELECT 1 FROM river.river_job j
                    WHERE j.kind = 'copy_backup' AND j.args @> jsonb_build_object('backup_id', c.backup_id, 'bucket_id', c.bucket_id)
                      AND (j.state IN ('available', 'pending', 'scheduled', 'retryable')
                           OR j.state = 'running' AND j.attempted_at > now() - sqlc.arg(lease)::interval))
 ORDER BY c.due_at LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF c SKIP LOCKED;

-- name: CopiesEnded :exec
-- With their backup, and deleted with it. Whoever never said that he has stopped may have been suspended, and is looked after once more;
-- who said it after his backup's end stays to be.
UPDATE copies
   SET state = CASE state WHEN 'queued' THEN 'stopped' ELSE state END, ended_at = coalesce(ended_at, sqlc.arg(now)), lease_until = NULL,
       tidy_at = CASE WHEN lease_until IS NOT NULL THEN sqlc.arg(later)::timestamptz ELSE nullif(tidy_at, asked_at) END
 WHERE backup_id = sqlc.arg(backup_id) AND resource_id = sqlc.arg(resource_id);

-- name: CopiesToTidy :many
-- Each is handed out once an hour. In the service's scope.
UPDATE copies SET tidy_at = sqlc.arg(again)
 WHERE (backup_id, bucket_id) IN (SELECT c.backup_id, c.bucket_id FROM copies c JOIN backups b ON b.id = c.backup_id JOIN resources x ON x.id = c.resource_id
                                   WHERE c.tidy_at <= sqlc.arg(now) AND b.state = 'deleted' AND x.state <> 'deprovisioned'
                                   ORDER BY c.tidy_at LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF c SKIP LOCKED)
RETURNING resource_id, backup_id, bucket_id;

-- name: CopyTidied :exec
UPDATE copies SET tidy_at = NULL WHERE backup_id = sqlc.arg(backup_id) AND bucket_id = sqlc.arg(bucket_id) AND resource_id = sqlc.arg(resource_id);

-- name: TheirsLeft :exec
-- Of an expired backup nothing else is stored any more.
UPDATE backups SET theirs_left_at = coalesce(theirs_left_at, sqlc.arg(now)) WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND state = 'expired';
