-- name: InsertProof :execrows
INSERT INTO proofs (id, resource_id, database_id, backup_id, kind, state, requested_by, queued_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(database_id), sqlc.arg(backup_id), sqlc.arg(kind), 'queued',
        sqlc.arg(requested_by), sqlc.arg(now))
ON CONFLICT DO NOTHING;

-- name: FindProof :one
-- For a job, which knows the proof only. Runs in the service's scope.
SELECT resource_id FROM proofs WHERE id = sqlc.arg(id);

-- name: LockProof :one
SELECT * FROM proofs WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) FOR NO KEY UPDATE;

-- name: StartProof :exec
UPDATE proofs
   SET state = 'running', epoch = sqlc.arg(epoch), attempts = attempts + 1, worker = sqlc.arg(worker), retry_at = NULL,
       lease_until = now() + sqlc.arg(lease)::interval, started_at = coalesce(started_at, sqlc.arg(now)), current = '', done = 0
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: BeatProof :execrows
UPDATE proofs
   SET lease_until = now() + sqlc.arg(lease)::interval, current = sqlc.arg(current), done = sqlc.arg(done)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND epoch = sqlc.arg(epoch)
   AND state = 'running' AND lease_until >= now();

-- name: EndProof :execrows
UPDATE proofs
   SET state = sqlc.arg(state), reason = sqlc.arg(reason), detail = sqlc.arg(detail), left_out = sqlc.arg(left_out),
       server_version = sqlc.arg(server_version), tables = sqlc.arg(tables), rows = sqlc.arg(rows), bytes = sqlc.arg(bytes),
       objects = sqlc.arg(objects), ended_at = sqlc.arg(now), current = '', lease_until = NULL
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND epoch = sqlc.arg(epoch) AND state = 'running';

-- name: RequeueProof :execrows
UPDATE proofs
   SET state = 'queued', reason = sqlc.arg(reason), detail = sqlc.arg(detail), retry_at = sqlc.arg(retry_at), current = '',
       lease_until = NULL, attempts = attempts - sqlc.arg(uncounted)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND epoch = sqlc.arg(epoch) AND state = 'running';

-- name: CancelProofs :exec
UPDATE proofs SET state = 'lost', reason = sqlc.arg(reason), ended_at = sqlc.arg(now), lease_until = NULL, current = ''
 WHERE resource_id = sqlc.arg(resource_id) AND state IN ('queued', 'running')
   AND (sqlc.narg(id)::uuid IS NULL OR id = sqlc.narg(id)::uuid);

-- name: LockLostProofs :many
SELECT sqlc.embed(p), (SELECT x.region FROM resources x WHERE x.id = p.resource_id)::text AS region FROM proofs p
 WHERE state = 'running' AND lease_until < now()
 ORDER BY lease_until LIMIT sqlc.arg(most) FOR NO KEY UPDATE SKIP LOCKED;

-- name: LockStrandedProofs :many
-- Queued, and no job will start them.
SELECT p.id, p.kind, p.attempts, (SELECT x.region FROM resources x WHERE x.id = p.resource_id)::text AS region FROM proofs p
 WHERE p.state = 'queued' AND coalesce(p.retry_at, p.queued_at) < sqlc.arg(before)
   AND NOT EXISTS (SELECT 1 FROM river.river_job j
                    WHERE j.kind IN ('prove_backup', 'reread_backup') AND j.args @> jsonb_build_object('proof_id', p.id)
                      AND (j.state IN ('available', 'pending', 'scheduled', 'retryable')
                           OR j.state = 'running' AND j.attempted_at > now() - sqlc.arg(lease)::interval))
 ORDER BY p.queued_at LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF p SKIP LOCKED;

-- name: LockDueRestores :many
-- Databases whose newest good backup is to be restored. One that could not be is left alone for a while, and what only the
-- customer's keys open is never.
SELECT d.id, d.resource_id, r.region, g.id AS backup_id
  FROM databases d JOIN resources r ON r.id = d.resource_id
  JOIN backups g ON g.id = (SELECT b.id FROM backups b WHERE b.database_id = d.id AND b.state IN ('verified', 'proven')
                             ORDER BY b.queued_at DESC LIMIT 1)
 WHERE d.prove_at <= sqlc.arg(now) AND NOT g.alone AND r.state IN ('active', 'needs_attention') AND (d.state = 'active' OR g.state = 'verified')
   AND NOT EXISTS (SELECT 1 FROM proofs p WHERE p.database_id = d.id AND p.kind = 'restore'
                      AND (p.state IN ('queued', 'running') OR p.state = 'lost' AND p.ended_at > sqlc.arg(lost_since)))
 ORDER BY d.prove_at LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF d SKIP LOCKED;

-- name: RestoreDueAt :one
-- When a backup is to be restored by itself, as LockDueRestores finds it; no row where it is not, or is being.
SELECT greatest(d.prove_at, (SELECT max(p.ended_at) FROM proofs p WHERE p.database_id = d.id AND p.kind = 'restore' AND p.state = 'lost') + sqlc.arg(again)::interval)::timestamptz AS due_at
  FROM databases d JOIN resources r ON r.id = d.resource_id
  JOIN backups g ON g.id = (SELECT b.id FROM backups b WHERE b.database_id = d.id AND b.state IN ('verified', 'proven')
                             ORDER BY b.queued_at DESC LIMIT 1)
 WHERE g.id = sqlc.arg(backup_id) AND d.id = sqlc.arg(database_id) AND d.resource_id = sqlc.arg(resource_id) AND d.prove_at IS NOT NULL AND NOT g.alone
   AND r.state IN ('active', 'needs_attention') AND (d.state = 'active' OR g.state = 'verified')
   AND NOT EXISTS (SELECT 1 FROM proofs p WHERE p.database_id = d.id AND p.kind = 'restore' AND p.state IN ('queued', 'running'));

-- name: LockDueRereads :many
SELECT b.id, b.resource_id, b.database_id, r.region
  FROM backups b JOIN resources r ON r.id = b.resource_id
 WHERE b.reread_at <= sqlc.arg(now) AND b.state IN ('verified', 'proven', 'incomplete') AND r.state IN ('active', 'needs_attention')
   AND NOT EXISTS (SELECT 1 FROM proofs p WHERE p.backup_id = b.id AND p.kind = 'reread'
                      AND (p.state IN ('queued', 'running') OR p.state = 'lost' AND p.ended_at > sqlc.arg(lost_since)))
 ORDER BY b.reread_at LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF b SKIP LOCKED;

-- name: CountOverdue :one
-- What was due before the given times and is not done, for the operator: of what lies in our own bucket, for another one may be
-- what it waits for.
SELECT (SELECT count(*) FROM databases d JOIN resources r ON r.id = d.resource_id
         WHERE d.prove_at < sqlc.arg(proved_before) AND d.state = 'active' AND r.state IN ('active', 'needs_attention')
           AND (SELECT b.bucket_id FROM backups b WHERE b.database_id = d.id AND b.state IN ('verified', 'proven') ORDER BY b.queued_at DESC LIMIT 1) IS NULL)::bigint AS restores,
       (SELECT count(*) FROM backups b JOIN resources r ON r.id = b.resource_id
         WHERE b.reread_at < sqlc.arg(reread_before) AND b.bucket_id IS NULL AND b.state IN ('verified', 'proven', 'incomplete')
           AND r.state IN ('active', 'needs_attention'))::bigint AS rereads;

-- name: ListProofs :many
SELECT * FROM proofs WHERE backup_id = sqlc.arg(backup_id) AND resource_id = sqlc.arg(resource_id) ORDER BY queued_at DESC, id LIMIT sqlc.arg(most);

-- name: NewestRestores :many
-- The newest restore of each database.
SELECT DISTINCT ON (database_id) * FROM proofs
 WHERE resource_id = sqlc.arg(resource_id) AND kind = 'restore' ORDER BY database_id, queued_at DESC, id;

-- name: FirstRereads :many
-- When the first of each database's backups is to be read again.
SELECT d.id AS database_id, b.reread_at::timestamptz AS reread_at
  FROM databases d
  CROSS JOIN LATERAL (SELECT x.reread_at FROM backups x
                       WHERE x.database_id = d.id AND x.state IN ('verified', 'proven', 'incomplete') AND x.reread_at IS NOT NULL
                       ORDER BY x.reread_at LIMIT 1) b
 WHERE d.resource_id = sqlc.arg(resource_id);

-- name: SetProveAt :exec
-- Nothing waits while the newest good backup is one that only the customer's keys open.
UPDATE databases d
   SET prove_at = CASE WHEN (SELECT b.alone FROM backups b WHERE b.database_id = d.id AND b.state IN ('verified', 'proven')
                              ORDER BY b.queued_at DESC LIMIT 1) THEN NULL ELSE sqlc.narg(prove_at)::timestamptz END
 WHERE d.id = sqlc.arg(id) AND d.resource_id = sqlc.arg(resource_id);

-- name: MoveProveAt :exec
-- As SetProveAt, where the backup is the one that would be restored.
UPDATE databases d SET prove_at = sqlc.arg(prove_at)
 WHERE d.id = sqlc.arg(id) AND d.resource_id = sqlc.arg(resource_id)
   AND sqlc.arg(backup_id) = (SELECT b.id FROM backups b WHERE b.database_id = d.id AND b.state IN ('verified', 'proven')
                               ORDER BY b.queued_at DESC LIMIT 1);

-- name: ProveSoon :exec
-- The first verified backup, and the first after one that could not be restored, is due at once.
UPDATE databases SET prove_at = sqlc.arg(now) WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND prove_at IS NULL;

-- name: SetRereadAt :exec
UPDATE backups SET reread_at = sqlc.narg(reread_at) WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: JudgeBackup :execrows
-- What a proof found, on a backup that is still as it was when that was judged.
UPDATE backups SET state = sqlc.arg(state), reason = sqlc.arg(reason), detail = sqlc.arg(detail), fix = '', damaged_at = sqlc.narg(damaged_at)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND state = sqlc.arg(was);
