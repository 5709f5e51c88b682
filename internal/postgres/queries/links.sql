-- name: InsertLink :exec
INSERT INTO links (id, resource_id, backup_id, token_hash, made_by, created_at, expires_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(backup_id), sqlc.arg(token_hash), sqlc.arg(made_by), sqlc.arg(now), sqlc.arg(expires_at));

-- name: FindLink :one
-- In the service's scope: the token is all that the client brings.
SELECT l.id, l.resource_id, l.backup_id, l.expires_at, l.revoked_at, r.state AS resource_state
  FROM links l JOIN resources r ON r.id = l.resource_id
 WHERE l.token_hash = sqlc.arg(token_hash);

-- name: FindOwnLink :one
SELECT * FROM links WHERE resource_id = sqlc.arg(resource_id) AND backup_id = sqlc.arg(backup_id) AND token_hash = sqlc.arg(token_hash);

-- name: ListLinks :many
SELECT * FROM links WHERE resource_id = sqlc.arg(resource_id) AND backup_id = sqlc.arg(backup_id) ORDER BY created_at DESC;

-- name: RevokeLinks :execrows
UPDATE links SET revoked_at = sqlc.arg(now)
 WHERE resource_id = sqlc.arg(resource_id) AND revoked_at IS NULL AND (sqlc.narg(id)::uuid IS NULL OR id = sqlc.narg(id)::uuid);

-- name: NoteLinkUse :execrows
-- Nothing where a use was noted less than a minute ago, from wherever: a download in pieces is one use.
UPDATE links SET used_at = sqlc.arg(now), used_from = sqlc.arg(used_from)
 WHERE id = sqlc.arg(id)
   AND (used_at IS NULL OR used_at <= sqlc.arg(now)::timestamptz - interval '1 minute');
