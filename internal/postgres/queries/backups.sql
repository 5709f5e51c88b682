-- name: InsertBackup :execrows
INSERT INTO backups (id, resource_id, database_id, schedule_id, occurrence, requested_by, state, queued_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(database_id), sqlc.narg(schedule_id), sqlc.narg(occurrence),
        sqlc.arg(requested_by), 'queued', sqlc.arg(now))
ON CONFLICT DO NOTHING;

-- name: LiveBackup :one
SELECT id FROM backups WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id) AND state IN ('queued', 'running');

-- name: FindBackup :one
-- For a job, which knows the backup only. Runs in the service's scope.
SELECT resource_id, state FROM backups WHERE id = sqlc.arg(id);

-- name: LastGood :one
-- The newest good backup of the same database, and whether a run of this one needed more memory than it had. Runs in the
-- service's scope.
SELECT (g.id IS NOT NULL)::boolean AS known, coalesce(g.stored_size, 0)::bigint AS stored_size, coalesce(g.tables, 0)::integer AS tables,
       coalesce(g.peak_memory, 0)::bigint AS peak_memory,
       EXISTS (SELECT FROM runs r WHERE r.backup_id = b.id AND r.reason = 'more_memory_needed') AS needs_more
  FROM backups b
  LEFT JOIN LATERAL (SELECT x.id, x.stored_size, x.tables, x.peak_memory FROM backups x
                      WHERE x.database_id = b.database_id AND x.state IN ('verified', 'proven', 'incomplete')
                      ORDER BY x.queued_at DESC LIMIT 1) g ON true
 WHERE b.id = sqlc.arg(id);

-- name: LockStrandedBackups :many
-- Queued, and no job will start them.
SELECT b.id, b.attempts, (SELECT x.region FROM resources x WHERE x.id = b.resource_id)::text AS region FROM backups b
 WHERE b.state = 'queued' AND coalesce(b.retry_at, b.queued_at) < sqlc.arg(before)
   AND NOT EXISTS (SELECT 1 FROM river.river_job j
                    WHERE j.kind = 'run_backup' AND j.args @> jsonb_build_object('backup_id', b.id)
                      AND (j.state IN ('available', 'pending', 'scheduled', 'retryable')
                           OR j.state = 'running' AND j.attempted_at > now() - sqlc.arg(lease)::interval))
 ORDER BY b.queued_at LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF b SKIP LOCKED;

-- name: WaitsLonger :one
-- Whether somebody else waits for a run since before this resource was served last, has had no turn since, and none of
-- his runs. Who has had one gives way himself: two that gave way to each other would both wait. Those of another pool wait for
-- other workers. In the service's scope.
SELECT EXISTS (SELECT 1 FROM backups b JOIN resources x ON x.id = b.resource_id AND (x.served_at IS NULL OR x.served_at < coalesce(b.retry_at, b.queued_at))
                WHERE b.state = 'queued' AND NOT b.passed AND coalesce(b.retry_at, b.queued_at) <= sqlc.arg(served)::timestamptz
                  AND coalesce(b.retry_at, b.queued_at) > sqlc.arg(oldest)::timestamptz AND b.resource_id <> sqlc.arg(resource_id)
                  AND (x.region ~ '(^|:)eu(-|$)') = sqlc.arg(eu)::boolean
                  AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.resource_id = b.resource_id AND r.state IN ('claimed', 'dumping', 'confirming'))) AS waits;

-- name: PassTurn :exec
-- What else of a resource waits while it is served.
UPDATE backups SET passed = true
 WHERE resource_id = sqlc.arg(resource_id) AND state = 'queued' AND NOT passed AND coalesce(retry_at, queued_at) <= sqlc.arg(now)::timestamptz;

-- name: CountAhead :one
-- How many backups of the resource wait since before this one.
SELECT count(*) FROM backups b, backups me
 WHERE me.id = sqlc.arg(id) AND me.resource_id = sqlc.arg(resource_id) AND b.resource_id = me.resource_id AND b.state = 'queued'
   AND (coalesce(b.retry_at, b.queued_at), b.id) < (coalesce(me.retry_at, me.queued_at), me.id);

-- name: CountAsked :one
-- How many queued backups of the resource somebody has asked for.
SELECT count(*) FROM backups WHERE resource_id = sqlc.arg(resource_id) AND state = 'queued' AND requested_by <> '';

-- name: LockBackup :one
SELECT * FROM backups WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) FOR NO KEY UPDATE;

-- name: GetBackup :one
SELECT sqlc.embed(b), d.addon, d.owner_app
  FROM backups b JOIN databases d ON d.id = b.database_id
 WHERE b.id = sqlc.arg(id) AND b.resource_id = sqlc.arg(resource_id);

-- name: ListBackups :many
-- The newest of each database, with the live run's progress.
SELECT sqlc.embed(b), d.addon, d.owner_app,
       r.state AS run_state, r.bytes AS run_bytes, r.bytes_out AS run_bytes_out, r.tables_done, r.tables_total, r.current, r.started_at AS run_started_at
  FROM databases d
  CROSS JOIN LATERAL (SELECT x.id FROM backups x WHERE x.database_id = d.id ORDER BY x.queued_at DESC, x.id LIMIT sqlc.arg(each)) n
  JOIN backups b ON b.id = n.id
  LEFT JOIN runs r ON r.backup_id = b.id AND r.state IN ('claimed', 'dumping', 'confirming')
 WHERE d.resource_id = sqlc.arg(resource_id)
 ORDER BY b.queued_at DESC, b.id;

-- name: StartBackup :exec
UPDATE backups
   SET state = 'running', epoch = sqlc.arg(epoch), attempts = attempts + 1, retry_at = NULL,
       started_at = coalesce(started_at, sqlc.arg(now)), bucket_id = sqlc.narg(bucket_id)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: RequeueBackup :execrows
UPDATE backups
   SET state = 'queued', passed = false, reason = sqlc.arg(reason), detail = sqlc.arg(detail), fix = sqlc.arg(fix), retry_at = sqlc.arg(retry_at),
       attempts = attempts - sqlc.arg(uncounted)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND epoch = sqlc.arg(epoch) AND state = 'running';

-- name: EndBackup :execrows
UPDATE backups
   SET state = sqlc.arg(state), reason = sqlc.arg(reason), detail = sqlc.arg(detail), fix = sqlc.arg(fix), ended_at = sqlc.arg(now)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND epoch = sqlc.arg(epoch) AND state = 'running';

-- name: KeepBackup :execrows
UPDATE backups
   SET state = sqlc.arg(state), reason = sqlc.arg(reason), detail = sqlc.arg(detail), fix = '', ended_at = sqlc.arg(now),
       server_version = sqlc.arg(server_version), client_version = sqlc.arg(client_version), client_major = sqlc.arg(client_major),
       archive_version = sqlc.arg(archive_version), tables = sqlc.arg(tables), rows = sqlc.arg(rows),
       plain_size = sqlc.arg(plain_size), stored_size = sqlc.arg(stored_size), peak_memory = sqlc.arg(peak_memory), reread_at = sqlc.arg(reread_at),
       opened_by = sqlc.arg(opened_by), alone = sqlc.arg(alone), locked_until = sqlc.narg(locked_until), lock_mode = sqlc.narg(lock_mode)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND epoch = sqlc.arg(epoch) AND state = 'running';

-- name: CancelBackups :many
UPDATE backups SET state = 'canceled', reason = sqlc.arg(reason), ended_at = sqlc.arg(now)
 WHERE resource_id = sqlc.arg(resource_id) AND state IN ('queued', 'running')
   AND (sqlc.narg(id)::uuid IS NULL OR id = sqlc.narg(id)::uuid)
RETURNING id;

-- name: RegionOf :one
SELECT region FROM resources WHERE id = sqlc.arg(id);

-- name: InsertObjects :exec
INSERT INTO objects (backup_id, resource_id, name, size, plain_size, sha256)
SELECT sqlc.arg(backup_id)::uuid, sqlc.arg(resource_id)::uuid, unnest(sqlc.arg(names)::text[]), unnest(sqlc.arg(sizes)::bigint[]),
       unnest(sqlc.arg(plain_sizes)::bigint[]), unnest(sqlc.arg(sha256s)::bytea[]);

-- name: ListObjects :many
SELECT * FROM objects WHERE backup_id = sqlc.arg(backup_id) AND resource_id = sqlc.arg(resource_id) ORDER BY name;
