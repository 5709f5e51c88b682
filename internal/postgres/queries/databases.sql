-- name: UpsertDatabase :one
INSERT INTO databases (id, resource_id, addon_id, addon, owner_app, attachment, credential, plan, state, problem, found_at, seen_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(addon_id), sqlc.arg(addon), sqlc.arg(owner_app), sqlc.arg(attachment),
        sqlc.arg(credential), sqlc.arg(plan), sqlc.arg(state), sqlc.arg(problem), sqlc.arg(now), sqlc.arg(now))
ON CONFLICT (resource_id, addon_id) DO UPDATE
   SET addon = excluded.addon, owner_app = excluded.owner_app, attachment = excluded.attachment,
       credential = excluded.credential, plan = excluded.plan, state = excluded.state, problem = excluded.problem, seen_at = excluded.seen_at
RETURNING id;

-- name: DetachOthers :many
UPDATE databases SET state = 'detached', problem = ''
 WHERE resource_id = sqlc.arg(resource_id) AND state <> 'detached' AND NOT (addon_id = ANY (sqlc.arg(attached)::text[]))
RETURNING id;

-- name: ListDatabases :many
SELECT d.*, s.minute, s.next_run_at
  FROM databases d LEFT JOIN schedules s ON s.database_id = d.id
 WHERE d.resource_id = sqlc.arg(resource_id)
 ORDER BY d.found_at, d.addon;

-- name: GetDatabase :one
SELECT * FROM databases WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: CountDatabases :one
SELECT count(*) FROM databases WHERE resource_id = sqlc.arg(resource_id) AND state = 'active';

-- name: SetServer :exec
UPDATE databases SET server_version = sqlc.arg(server_version), size_bytes = sqlc.arg(size_bytes)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: InsertSchedule :execrows
INSERT INTO schedules (id, resource_id, database_id, minute, next_run_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(database_id), sqlc.arg(minute), sqlc.arg(next_run_at))
ON CONFLICT (database_id) DO NOTHING;

-- name: LockDueSchedules :many
SELECT s.*
  FROM schedules s JOIN databases d ON d.id = s.database_id JOIN resources r ON r.id = s.resource_id
 WHERE s.next_run_at <= sqlc.arg(now) AND d.state = 'active' AND r.state IN ('active', 'needs_attention')
 ORDER BY s.next_run_at LIMIT sqlc.arg(most) FOR UPDATE OF s SKIP LOCKED;

-- name: SetNextRun :exec
UPDATE schedules SET next_run_at = sqlc.arg(next_run_at) WHERE id = sqlc.arg(id);
