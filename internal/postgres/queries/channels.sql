-- name: InsertChannel :exec
INSERT INTO channels (id, resource_id, kind, shown, sealed_address, sealed_secret, address_mac, token_hash, mutes, added_by, added_at, confirmed_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(kind), sqlc.arg(shown), sqlc.arg(sealed_address), sqlc.narg(sealed_secret),
        sqlc.arg(address_mac), sqlc.narg(token_hash), sqlc.arg(mutes), sqlc.arg(added_by), sqlc.arg(now), sqlc.narg(confirmed_at));

-- name: ListChannels :many
SELECT * FROM channels WHERE resource_id = sqlc.arg(resource_id) AND removed_at IS NULL ORDER BY kind = 'log_stream' DESC, added_at, id;

-- name: LockChannels :many
-- One planner at a time makes a resource's messages.
SELECT * FROM channels WHERE resource_id = sqlc.arg(resource_id) AND removed_at IS NULL ORDER BY id FOR NO KEY UPDATE;

-- name: LockChannel :one
SELECT * FROM channels WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND removed_at IS NULL FOR NO KEY UPDATE;

-- name: LogStream :one
SELECT * FROM channels WHERE resource_id = sqlc.arg(resource_id) AND kind = 'log_stream' AND removed_at IS NULL FOR NO KEY UPDATE;

-- name: SetChannelAddress :exec
UPDATE channels SET shown = sqlc.arg(shown), sealed_address = sqlc.arg(sealed_address), address_mac = sqlc.arg(address_mac), problem = ''
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: SetChannelWants :exec
UPDATE channels SET enabled = sqlc.arg(enabled), mutes = sqlc.arg(mutes), problem = CASE WHEN sqlc.arg(enabled) THEN problem ELSE '' END
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: SetWake :exec
UPDATE channels SET wake_at = sqlc.narg(wake_at) WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: SetChannelProblem :exec
UPDATE channels SET problem = sqlc.arg(problem), enabled = enabled AND NOT sqlc.arg(off)::boolean
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: ConfirmChannel :exec
UPDATE channels SET confirmed_at = sqlc.arg(now) WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: RemoveChannels :exec
-- One, or all of the resource: what opens them is forgotten. The link in a mail goes on to say that it is removed.
UPDATE channels SET removed_at = coalesce(removed_at, sqlc.arg(now)), enabled = false, sealed_address = NULL, sealed_secret = NULL, problem = ''
 WHERE resource_id = sqlc.arg(resource_id) AND (sqlc.narg(id)::uuid IS NULL OR id = sqlc.narg(id)::uuid);

-- name: FindChannel :one
-- In the service's scope: the token is all that the mail brings.
SELECT c.*, r.name AS resource, r.helper_app FROM channels c JOIN resources r ON r.id = c.resource_id WHERE c.token_hash = sqlc.arg(token_hash);

-- name: SameChannel :one
SELECT EXISTS (SELECT 1 FROM channels WHERE resource_id = sqlc.arg(resource_id) AND kind = sqlc.arg(kind) AND address_mac = sqlc.arg(address_mac) AND removed_at IS NULL) AS same;

-- name: CountAdded :one
-- Channels that a resource has added since, and the e-mail addresses among them. Removed ones count.
SELECT count(*) AS added, count(*) FILTER (WHERE kind = 'email') AS mails
  FROM channels WHERE resource_id = sqlc.arg(resource_id) AND added_at > sqlc.arg(since);

-- name: LockAddress :exec
-- Until the transaction ends.
SELECT pg_advisory_xact_lock(hashtextextended('address ' || encode(sqlc.arg(address_mac)::bytea, 'hex'), 0));

-- name: CountAddress :one
-- How often an address was added since, by anybody. Runs in the service's scope.
SELECT count(*) FROM channels WHERE address_mac = sqlc.arg(address_mac) AND added_at > sqlc.arg(since);

-- name: ForgetChannels :execrows
-- In the service's scope: of resources that were removed long enough ago for every message to have ended.
UPDATE channels c SET removed_at = coalesce(c.removed_at, sqlc.arg(now)), enabled = false, sealed_address = NULL, sealed_secret = NULL, problem = ''
  FROM resources r
 WHERE r.id = c.resource_id AND r.state = 'deprovisioned' AND r.deprovisioned_at < sqlc.arg(before) AND c.removed_at IS NULL;

-- name: PurgeChannels :execrows
-- In the service's scope: those that were removed long ago and to which no message in the log went.
DELETE FROM channels WHERE id IN (
    SELECT c.id FROM channels c
     WHERE c.removed_at < sqlc.arg(before) AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.channel_id = c.id)
       AND NOT EXISTS (SELECT 1 FROM news n WHERE n.channel_id = c.id)
     ORDER BY c.removed_at LIMIT sqlc.arg(most));
