-- name: UpsertDatabase :one
INSERT INTO databases (id, resource_id, addon_id, addon, owner_app, attachment, credential, beside, also, plan, state, problem, found_at, seen_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(addon_id), sqlc.arg(addon), sqlc.arg(owner_app), sqlc.arg(attachment),
        sqlc.arg(credential), sqlc.arg(beside), sqlc.arg(also), sqlc.arg(plan), sqlc.arg(state), sqlc.arg(problem), sqlc.arg(now), sqlc.arg(now))
ON CONFLICT (resource_id, addon_id) DO UPDATE
   SET addon = excluded.addon, owner_app = excluded.owner_app, attachment = excluded.attachment,
       credential = excluded.credential, beside = excluded.beside, also = excluded.also, plan = excluded.plan, state = excluded.state, problem = excluded.problem, seen_at = excluded.seen_at
RETURNING id;

-- name: DetachOthers :many
UPDATE databases SET state = 'detached', problem = '', beside = '', also = '{}'
 WHERE resource_id = sqlc.arg(resource_id) AND state <> 'detached' AND NOT (addon_id = ANY (sqlc.arg(attached)::text[]))
RETURNING id;

-- name: ListDatabases :many
SELECT d.*, s.minute, s.next_run_at, s.kind, s.hours, s.weekday, s.day, s.cron, s.zone, s.paused_at, s.paused_by, s.pause_reason
  FROM databases d LEFT JOIN schedules s ON s.database_id = d.id
 WHERE d.resource_id = sqlc.arg(resource_id) AND d.forgotten_at IS NULL
 ORDER BY d.found_at, d.addon;

-- name: GetDatabase :one
SELECT * FROM databases WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: CountDatabases :one
SELECT count(*) FROM databases WHERE resource_id = sqlc.arg(resource_id) AND state = 'active';

-- name: SetServer :exec
UPDATE databases SET server_version = sqlc.arg(server_version), size_bytes = coalesce(nullif(sqlc.arg(size_bytes)::bigint, 0), size_bytes)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: AskToForget :exec
UPDATE databases SET forget_at = sqlc.arg(forget_at), forget_by = sqlc.arg(person) WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: UndoForget :execrows
-- While it has not begun.
UPDATE databases SET forget_at = NULL, forget_by = ''
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND forget_at > sqlc.arg(now);

-- name: RememberAgain :execrows
-- A database that is attached again is not forgotten.
UPDATE databases SET forget_at = NULL, forget_by = '', forgotten_at = NULL
 WHERE addon_id = sqlc.arg(addon_id) AND resource_id = sqlc.arg(resource_id) AND forget_at IS NOT NULL;

-- name: ForgetDatabases :many
-- In the service's scope: those that nothing is stored of any more.
UPDATE databases d SET forgotten_at = sqlc.arg(now)
 WHERE d.forget_at <= sqlc.arg(now) AND d.forgotten_at IS NULL AND d.state = 'detached'
   AND NOT EXISTS (SELECT FROM backups b WHERE b.database_id = d.id
                    AND (b.state IN ('queued', 'running', 'verified', 'proven', 'incomplete') OR b.state = 'failed' AND b.reason = 'stored_object_damaged'))
RETURNING d.id, d.resource_id, d.addon;
