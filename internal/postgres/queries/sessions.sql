-- name: InsertSession :exec
INSERT INTO sessions (token_hash, resource_id, user_id, email, created_at, seen_at)
VALUES (sqlc.arg(token_hash), sqlc.arg(resource_id), sqlc.arg(user_id), sqlc.arg(email), sqlc.arg(now), sqlc.arg(now));

-- name: UseSession :one
-- In the service's scope: the token is all that the browser brings.
UPDATE sessions s SET seen_at = sqlc.arg(now)
  FROM resources r
 WHERE s.token_hash = sqlc.arg(token_hash) AND r.id = s.resource_id AND r.state <> 'deprovisioned'
   AND s.seen_at > sqlc.arg(idle_since) AND s.created_at > sqlc.arg(made_since)
RETURNING s.resource_id, s.user_id, s.email, s.created_at, s.seen_at;

-- name: DeleteSession :one
DELETE FROM sessions WHERE token_hash = sqlc.arg(token_hash) RETURNING resource_id, email;

-- name: EndSessions :exec
-- Of a removed resource. The rows stay until they are purged, without the person, so that the next click can be told why it
-- finds nothing.
UPDATE sessions SET user_id = '', email = '' WHERE resource_id = sqlc.arg(resource_id);

-- name: RemovedSince :one
-- Until when the removal of the resource that a token opened can be undone; no row where it was not removed, no time where
-- the removal was not written down yet or the key is gone. In the service's scope.
SELECT m.undo_until FROM sessions s JOIN resources r ON r.id = s.resource_id
  LEFT JOIN removals m ON m.resource_id = r.id AND m.key_destroyed_at IS NULL
 WHERE s.token_hash = sqlc.arg(token_hash) AND r.state = 'deprovisioned'
   AND s.seen_at > sqlc.arg(idle_since) AND s.created_at > sqlc.arg(made_since);

-- name: DeleteSessions :execrows
DELETE FROM sessions WHERE resource_id = sqlc.arg(resource_id);

-- name: PurgeSessions :exec
DELETE FROM sessions WHERE created_at <= sqlc.arg(made_since) OR seen_at <= sqlc.arg(idle_since);

-- name: InsertSSOUse :execrows
INSERT INTO sso_uses (token_hash, resource_id, used_at) VALUES (sqlc.arg(token_hash), sqlc.arg(resource_id), sqlc.arg(now))
ON CONFLICT DO NOTHING;

-- name: PurgeSSOUses :exec
DELETE FROM sso_uses WHERE used_at <= sqlc.arg(before);

-- name: CountAccess :one
-- What opens something of a resource's at this moment.
SELECT (SELECT count(*) FROM links l WHERE l.resource_id = sqlc.arg(resource_id) AND l.revoked_at IS NULL AND l.expires_at > sqlc.arg(now)) AS links,
       (SELECT count(*) FROM sessions s WHERE s.resource_id = sqlc.arg(resource_id) AND s.seen_at > sqlc.arg(idle_since) AND s.created_at > sqlc.arg(made_since)) AS visits,
       (SELECT count(*) FROM api_tokens a WHERE a.resource_id = sqlc.arg(resource_id) AND a.revoked_at IS NULL AND (a.expires_at IS NULL OR a.expires_at > sqlc.arg(now))) AS tokens;

-- name: NotOf :many
-- Which of these identifiers are of nothing that the resource has, or had.
SELECT a.id::text FROM unnest(sqlc.arg(ids)::uuid[]) a(id)
 WHERE NOT EXISTS (SELECT FROM databases x WHERE x.id = a.id AND x.resource_id = sqlc.arg(resource_id))
   AND NOT EXISTS (SELECT FROM backups x WHERE x.id = a.id AND x.resource_id = sqlc.arg(resource_id))
   AND NOT EXISTS (SELECT FROM links x WHERE x.id = a.id AND x.resource_id = sqlc.arg(resource_id))
   AND NOT EXISTS (SELECT FROM channels x WHERE x.id = a.id AND x.resource_id = sqlc.arg(resource_id))
   AND NOT EXISTS (SELECT FROM api_tokens x WHERE x.id = a.id AND x.resource_id = sqlc.arg(resource_id));
