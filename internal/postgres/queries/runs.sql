-- name: CountLiveRuns :one
SELECT count(*) FROM runs WHERE resource_id = sqlc.arg(resource_id) AND state IN ('claimed', 'dumping', 'confirming');

-- name: InsertRun :exec
INSERT INTO runs (id, resource_id, backup_id, epoch, worker, state, lease_until, started_at, bucket_id, tidy_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(backup_id), sqlc.arg(epoch), sqlc.arg(worker), 'claimed',
        now() + sqlc.arg(lease)::interval, sqlc.arg(now), sqlc.narg(bucket_id), CASE WHEN sqlc.narg(bucket_id)::uuid IS NOT NULL THEN sqlc.arg(now)::timestamptz END);

-- name: BeatRun :execrows
UPDATE runs
   SET lease_until = now() + sqlc.arg(lease)::interval, state = sqlc.arg(state), bytes = sqlc.arg(bytes), bytes_out = sqlc.arg(bytes_out),
       tables_done = sqlc.arg(tables_done), tables_total = sqlc.arg(tables_total), current = sqlc.arg(current)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND epoch = sqlc.arg(epoch)
   AND state IN ('claimed', 'dumping', 'confirming') AND lease_until >= now();

-- name: EnterServer :execrows
-- Where fewer live runs than that read from the server. In the service's scope; the server's name is locked before.
UPDATE runs me SET server = sqlc.arg(server)
 WHERE me.id = sqlc.arg(id) AND me.epoch = sqlc.arg(epoch)
   AND (SELECT count(*) FROM runs x WHERE x.server = sqlc.arg(server) AND x.id <> sqlc.arg(id)
                                      AND x.state IN ('claimed', 'dumping', 'confirming')) < sqlc.arg(most)::bigint;

-- name: LockServer :exec
-- Until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('server ' || sqlc.arg(server)::text, 0));

-- name: SaveImpact :exec
UPDATE runs SET held = sqlc.narg(held), blocked = sqlc.narg(blocked), waited = sqlc.narg(waited)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND epoch = sqlc.arg(epoch);

-- name: ImpactOf :one
-- Of the newest run that had a snapshot.
SELECT held, blocked, waited FROM runs
 WHERE backup_id = sqlc.arg(backup_id) AND resource_id = sqlc.arg(resource_id) AND held IS NOT NULL ORDER BY epoch DESC LIMIT 1;

-- name: EndRun :execrows
UPDATE runs
   SET state = sqlc.arg(state), reason = sqlc.arg(reason), ended_at = sqlc.arg(now),
       held = coalesce(sqlc.narg(held), held), blocked = coalesce(sqlc.narg(blocked), blocked), waited = coalesce(sqlc.narg(waited), waited),
       tidy_at = CASE WHEN sqlc.arg(state) <> 'done' THEN tidy_at END
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND epoch = sqlc.arg(epoch)
   AND state IN ('claimed', 'dumping', 'confirming');

-- name: EndRunsOfCanceled :exec
UPDATE runs SET state = 'failed', reason = sqlc.arg(reason), ended_at = sqlc.arg(now)
 WHERE resource_id = sqlc.arg(resource_id) AND state IN ('claimed', 'dumping', 'confirming')
   AND backup_id = ANY (sqlc.arg(backups)::uuid[]);

-- name: LockLostRuns :many
-- With their backups, and waiting for neither: whoever has a lock on one is at work on it.
SELECT sqlc.embed(r), b.attempts, (SELECT x.region FROM resources x WHERE x.id = r.resource_id)::text AS region
  FROM runs r JOIN backups b ON b.id = r.backup_id
 WHERE r.state IN ('claimed', 'dumping', 'confirming') AND r.lease_until < now()
 ORDER BY r.lease_until LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF b, r SKIP LOCKED;

-- name: IsRunLive :one
SELECT EXISTS (SELECT 1 FROM runs WHERE backup_id = sqlc.arg(backup_id) AND epoch = sqlc.arg(epoch)
                  AND state IN ('claimed', 'dumping', 'confirming')) AS live;

-- name: ListUnwantedArchives :many
-- Those of runs that ended and kept nothing, and what came after all that a removed add-on had was deleted. Runs in the service's scope.
WITH a AS (SELECT unnest(sqlc.arg(resources)::uuid[]) AS resource_id, unnest(sqlc.arg(backups)::uuid[]) AS backup_id,
                  unnest(sqlc.arg(epochs)::integer[]) AS epoch)
SELECT r.resource_id, r.backup_id, r.epoch
  FROM a
  JOIN runs r ON r.resource_id = a.resource_id AND r.backup_id = a.backup_id AND r.epoch = a.epoch
  JOIN backups b ON b.id = r.backup_id
 WHERE r.state IN ('failed', 'lost')
   AND NOT (b.epoch = r.epoch AND EXISTS (SELECT 1 FROM objects o WHERE o.backup_id = b.id))
 UNION
SELECT a.resource_id::uuid, a.backup_id::uuid, a.epoch::integer FROM a JOIN removals m ON m.resource_id = a.resource_id WHERE m.objects_deleted_at IS NOT NULL;
