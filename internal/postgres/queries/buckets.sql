-- name: BucketInUse :one
SELECT * FROM buckets WHERE resource_id = sqlc.arg(resource_id) AND in_use;

-- name: GetBucket :one
SELECT * FROM buckets WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: SameBucket :one
-- The row of a place, also of one that is in use no more.
SELECT * FROM buckets
 WHERE resource_id = sqlc.arg(resource_id) AND endpoint = sqlc.arg(endpoint) AND bucket = sqlc.arg(bucket) AND prefix = sqlc.arg(prefix) AND removed_at IS NULL;

-- name: ListBuckets :many
-- With how many backups lie in each that are listed, or damaged, and how many copies of such; and whether any backup was to lie in it.
SELECT sqlc.embed(x), (SELECT count(*) FROM backups b WHERE b.bucket_id = x.id
                        AND (b.state IN ('queued', 'running', 'verified', 'proven', 'incomplete') OR b.state = 'failed' AND b.reason = 'stored_object_damaged')) AS backups,
       (SELECT count(*) FROM copies c JOIN backups b ON b.id = c.backup_id WHERE c.bucket_id = x.id AND c.state = 'copied'
           AND (b.state IN ('verified', 'proven', 'incomplete') OR b.state = 'failed' AND b.reason = 'stored_object_damaged')) AS copies,
       (x.in_use OR EXISTS (SELECT FROM backups b WHERE b.bucket_id = x.id))::boolean AS held_backups
  FROM buckets x
 WHERE x.resource_id = sqlc.arg(resource_id) AND x.removed_at IS NULL ORDER BY x.in_use DESC, x.takes_copies DESC, x.set_at DESC, x.id;

-- name: LeaveBuckets :execrows
-- None is in use any more, and none takes copies, but for one that is given.
UPDATE buckets SET in_use = false, takes_copies = false
 WHERE resource_id = sqlc.arg(resource_id) AND (in_use OR takes_copies) AND id IS DISTINCT FROM sqlc.narg(keep);

-- name: InsertBucket :exec
INSERT INTO buckets (id, resource_id, endpoint, region, bucket, prefix, path_style, access_key, sealed_secret, delete_access_key, sealed_delete_secret, in_use, takes_copies, set_by, set_at, object_lock, object_lock_days)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(endpoint), sqlc.arg(region), sqlc.arg(bucket), sqlc.arg(prefix), sqlc.arg(path_style), sqlc.arg(access_key),
        sqlc.arg(sealed_secret), sqlc.arg(delete_access_key), sqlc.narg(sealed_delete_secret), NOT sqlc.arg(copies)::boolean, sqlc.arg(copies)::boolean, sqlc.arg(person), sqlc.arg(now), sqlc.narg(object_lock), sqlc.narg(object_lock_days));

-- name: ChangeBucket :execrows
-- The same place, with other keys.
UPDATE buckets
   SET region = sqlc.arg(region), path_style = sqlc.arg(path_style), access_key = sqlc.arg(access_key), sealed_secret = sqlc.arg(sealed_secret),
       delete_access_key = sqlc.arg(delete_access_key), sealed_delete_secret = sqlc.narg(sealed_delete_secret), in_use = NOT sqlc.arg(copies)::boolean, takes_copies = sqlc.arg(copies)::boolean,
       set_by = sqlc.arg(person), set_at = sqlc.arg(now),
       object_lock = sqlc.narg(object_lock), object_lock_days = sqlc.narg(object_lock_days)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND removed_at IS NULL;

-- name: RemoveBucket :execrows
-- Its keys go with it. Whether it may go ListBuckets says.
UPDATE buckets SET removed_at = sqlc.arg(now), access_key = '', sealed_secret = NULL, delete_access_key = '', sealed_delete_secret = NULL
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND removed_at IS NULL;

-- name: BucketsOfBackup :many
-- Every one that a run of the backup, or a copy of it, has been written to, or may have; null is ours, and comes first. Of one that lies in
-- ours each that takes copies, or took some: our database may have been set back, or made anew, and have forgotten the copy.
SELECT r.bucket_id FROM runs r WHERE r.backup_id = sqlc.arg(backup_id) AND r.resource_id = sqlc.arg(resource_id)
 UNION
SELECT b.bucket_id FROM backups b WHERE b.id = sqlc.arg(backup_id) AND b.resource_id = sqlc.arg(resource_id)
 UNION
SELECT c.bucket_id FROM copies c WHERE c.backup_id = sqlc.arg(backup_id) AND c.resource_id = sqlc.arg(resource_id)
 UNION
SELECT x.id FROM backups b JOIN buckets x ON x.resource_id = b.resource_id
 WHERE b.id = sqlc.arg(backup_id) AND b.resource_id = sqlc.arg(resource_id) AND b.bucket_id IS NULL
   AND x.removed_at IS NULL AND (x.takes_copies OR EXISTS (SELECT FROM copies c WHERE c.bucket_id = x.id))
 ORDER BY bucket_id NULLS FIRST;

-- name: RunsToTidy :many
-- Each is handed out once an hour. In the service's scope.
UPDATE runs SET tidy_at = sqlc.arg(again)
 WHERE id IN (SELECT r.id FROM runs r JOIN resources x ON x.id = r.resource_id
               WHERE r.tidy_at <= sqlc.arg(now) AND r.state IN ('failed', 'lost') AND x.state <> 'deprovisioned'
               ORDER BY r.tidy_at LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF r SKIP LOCKED)
RETURNING id, resource_id, backup_id, epoch, bucket_id;

-- name: SetTidyAt :exec
UPDATE runs SET tidy_at = sqlc.narg(tidy_at) WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);
