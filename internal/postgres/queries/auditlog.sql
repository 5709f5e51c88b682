-- name: InsertAudit :exec
-- A trigger puts it at the end of the resource's chain, which it holds until the transaction ends.
INSERT INTO audit_log (resource_id, at, actor, action, subject)
VALUES (sqlc.arg(resource_id), sqlc.arg(at), sqlc.arg(actor), sqlc.arg(action), sqlc.arg(subject));

-- name: NewestActions :many
-- What was written down last, for whoever asks how often something was.
SELECT action, at FROM audit_log WHERE resource_id = sqlc.arg(resource_id) ORDER BY seq DESC LIMIT sqlc.arg(most);

-- name: AuditLines :many
-- Newest first, of those that are looked for.
SELECT * FROM audit_log
 WHERE resource_id = sqlc.arg(resource_id) AND seq < sqlc.arg(before)
   AND (sqlc.arg(actor)::text = '' OR strpos(lower(actor), lower(sqlc.arg(actor)::text)) > 0)
   AND (sqlc.arg(action)::text = '' OR action = sqlc.arg(action)::text)
   AND (sqlc.narg(since)::timestamptz IS NULL OR at >= sqlc.narg(since)::timestamptz)
   AND (sqlc.narg(until)::timestamptz IS NULL OR at < sqlc.narg(until)::timestamptz)
 ORDER BY seq DESC LIMIT sqlc.arg(most);

-- name: AuditLinesFrom :many
-- The same, oldest first, up to one that was the newest when somebody began to read.
SELECT * FROM audit_log
 WHERE resource_id = sqlc.arg(resource_id) AND seq > sqlc.arg(after) AND seq <= sqlc.arg(last)
   AND (sqlc.arg(actor)::text = '' OR strpos(lower(actor), lower(sqlc.arg(actor)::text)) > 0)
   AND (sqlc.arg(action)::text = '' OR action = sqlc.arg(action)::text)
   AND (sqlc.narg(since)::timestamptz IS NULL OR at >= sqlc.narg(since)::timestamptz)
   AND (sqlc.narg(until)::timestamptz IS NULL OR at < sqlc.narg(until)::timestamptz)
 ORDER BY seq LIMIT sqlc.arg(most);

-- name: NextAction :one
-- The next action in alphabetical order: all of them are few steps in an index, however many lines there are.
SELECT action FROM audit_log WHERE resource_id = sqlc.arg(resource_id) AND action > sqlc.arg(after) ORDER BY action LIMIT 1;

-- name: AuditChain :one
SELECT length, hash FROM audit_chains WHERE resource_id = sqlc.arg(resource_id);

-- name: AuditChainsAfter :many
-- In the service's scope.
SELECT resource_id FROM audit_chains WHERE resource_id > sqlc.arg(after) ORDER BY resource_id LIMIT sqlc.arg(most);

-- name: BackupsNamed :many
-- Which of these identifiers are backups of the resource, and of which database.
SELECT b.id, b.database_id, b.queued_at, d.addon FROM backups b JOIN databases d ON d.id = b.database_id
 WHERE b.resource_id = sqlc.arg(resource_id) AND b.id = ANY (sqlc.arg(ids)::uuid[]);
