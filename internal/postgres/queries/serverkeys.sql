-- name: LockServerKey :one
SELECT server_at, server_key, server_key_at, server_key_asked FROM databases
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) FOR NO KEY UPDATE;

-- name: TakeServerKey :exec
UPDATE databases SET server_at = sqlc.arg(server_at), server_key = sqlc.arg(server_key), server_key_at = sqlc.arg(now), server_key_asked = NULL
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: AskServerKey :exec
-- Of one that is shown beside what is known; NULL where what is known is shown again.
UPDATE databases SET server_key_asked = sqlc.narg(asked) WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: IsAcknowledged :one
SELECT EXISTS (SELECT FROM acknowledgements WHERE resource_id = sqlc.arg(resource_id) AND database_id = sqlc.arg(database_id)
                  AND code = sqlc.arg(code) AND object = sqlc.arg(object));
