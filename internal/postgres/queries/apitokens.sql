-- name: InsertAPIToken :execrows
-- Nothing where one of that name is in use.
INSERT INTO api_tokens (id, resource_id, token_hash, shown, name, scope, made_by, made_at, expires_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(token_hash), sqlc.arg(shown), sqlc.arg(name), sqlc.arg(scope), sqlc.arg(made_by), sqlc.arg(now), sqlc.narg(expires_at))
ON CONFLICT (resource_id, name) WHERE revoked_at IS NULL DO NOTHING;

-- name: CountAPITokens :one
SELECT count(*) FROM api_tokens WHERE resource_id = sqlc.arg(resource_id) AND revoked_at IS NULL;

-- name: ListAPITokens :many
SELECT * FROM api_tokens WHERE resource_id = sqlc.arg(resource_id) AND revoked_at IS NULL ORDER BY made_at DESC, id;

-- name: FindAPIToken :one
-- In the service's scope: the token is all that the client brings.
SELECT sqlc.embed(t), r.state AS resource_state
  FROM api_tokens t JOIN resources r ON r.id = t.resource_id
 WHERE t.token_hash = sqlc.arg(token_hash);

-- name: NoteAPITokenUse :exec
-- Nothing where the same one's use was noted less than a minute ago.
UPDATE api_tokens SET used_at = sqlc.arg(now), used_from = sqlc.arg(used_from)
 WHERE id = sqlc.arg(id)
   AND (used_at IS NULL OR used_at <= sqlc.arg(now)::timestamptz - interval '1 minute' OR used_from <> sqlc.arg(used_from));

-- name: RevokeAPIToken :one
UPDATE api_tokens SET revoked_at = sqlc.arg(now), revoked_by = sqlc.arg(person)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND revoked_at IS NULL
RETURNING name;

-- name: RevokeAPITokens :execrows
UPDATE api_tokens SET revoked_at = sqlc.arg(now), revoked_by = sqlc.arg(person)
 WHERE resource_id = sqlc.arg(resource_id) AND revoked_at IS NULL;

-- name: PurgeAPITokens :exec
-- In the service's scope: those that ended long ago.
DELETE FROM api_tokens WHERE coalesce(revoked_at, expires_at) <= sqlc.arg(before)::timestamptz;
