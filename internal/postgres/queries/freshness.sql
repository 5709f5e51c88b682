-- name: ListStandings :many
-- Of everybody in the service's scope; of one resource, or one database of it, in a resource's. Year 1 stands for never.
-- One of the future, which a clock that was put back has left, is none: else nobody would hear of anything until then.
-- A backup is as old as the run that made it; how long backups usually take is the median of the last seven.
SELECT sqlc.embed(s), d.addon, d.state AS database_state, d.found_at, d.prove_at,
       coalesce(f.state, '')::text AS was, coalesce(f.told, '')::text AS told, coalesce(f.overdue, false)::boolean AS was_overdue,
       coalesce(f.counts_from, d.found_at)::timestamptz AS counts_from,
       coalesce((SELECT coalesce((SELECT u.started_at FROM runs u WHERE u.backup_id = b.id AND u.epoch = b.epoch), b.started_at, b.queued_at)
                   FROM backups b WHERE b.database_id = d.id AND b.state IN ('verified', 'proven')
                    AND greatest(b.queued_at, b.started_at, b.ended_at) < sqlc.arg(now)::timestamptz + interval '1 hour'
                  ORDER BY b.queued_at DESC LIMIT 1), timestamptz '0001-01-01 00:00:00+00')::timestamptz AS verified,
       coalesce((SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM x.ended_at - x.started_at))
                   FROM (SELECT b.started_at, b.ended_at FROM backups b
                          WHERE b.database_id = d.id AND b.state IN ('verified', 'proven', 'expired', 'deleted') AND b.started_at IS NOT NULL
                          ORDER BY b.queued_at DESC LIMIT 7) x), 0)::double precision AS usual,
       coalesce((SELECT min(b.reread_at) FROM backups b
                  WHERE b.database_id = d.id AND b.state IN ('verified', 'proven', 'incomplete')), timestamptz '0001-01-01 00:00:00+00')::timestamptz AS reread_at
  FROM databases d JOIN resources r ON r.id = d.resource_id JOIN schedules s ON s.database_id = d.id LEFT JOIN freshness f ON f.database_id = d.id
 WHERE r.state <> 'deprovisioned' AND d.forgotten_at IS NULL AND d.id > sqlc.arg(after)
   AND (sqlc.narg(resource_id)::uuid IS NULL OR d.resource_id = sqlc.narg(resource_id)::uuid)
   AND (sqlc.narg(database_id)::uuid IS NULL OR d.id = sqlc.narg(database_id)::uuid)
 ORDER BY d.id LIMIT sqlc.arg(most);

-- name: AddFreshness :exec
-- For a database that was never looked at.
INSERT INTO freshness (database_id, resource_id, state, since, counts_from)
SELECT d.id, d.resource_id, 'never', sqlc.arg(now), d.found_at FROM databases d
 WHERE d.id = sqlc.arg(database_id) AND d.resource_id = sqlc.arg(resource_id)
ON CONFLICT (database_id) DO NOTHING;

-- name: LockFreshness :one
SELECT * FROM freshness WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id) FOR NO KEY UPDATE;

-- name: SetFreshness :exec
UPDATE freshness
   SET since = CASE WHEN state = sqlc.arg(state) THEN since ELSE sqlc.arg(now) END, state = sqlc.arg(state),
       told_at = CASE WHEN told = sqlc.arg(told) THEN told_at ELSE sqlc.arg(now) END, told = sqlc.arg(told),
       overdue = sqlc.arg(overdue), counts_from = sqlc.arg(counts_from)
 WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id);

-- name: GetBadge :one
SELECT * FROM badges WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id);

-- name: FindBadge :one
-- For whoever knows its address. Runs in the service's scope.
SELECT resource_id, database_id, named FROM badges WHERE token_hash = sqlc.arg(token_hash);

-- name: PutBadge :exec
INSERT INTO badges (database_id, resource_id, token_hash, sealed_token, named, made_by, made_at)
VALUES (sqlc.arg(database_id), sqlc.arg(resource_id), sqlc.arg(token_hash), sqlc.arg(sealed_token), sqlc.arg(named), sqlc.arg(person), sqlc.arg(now))
ON CONFLICT (database_id) DO UPDATE
   SET token_hash = excluded.token_hash, sealed_token = excluded.sealed_token, named = excluded.named, made_by = excluded.made_by, made_at = excluded.made_at;

-- name: RemoveBadge :execrows
DELETE FROM badges WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id);

-- name: GetPing :one
SELECT * FROM pings WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id);

-- name: PingOfBackup :one
SELECT p.database_id, p.starts FROM pings p JOIN backups b ON b.database_id = p.database_id
 WHERE b.id = sqlc.arg(backup_id) AND b.resource_id = sqlc.arg(resource_id);

-- name: PutPing :exec
INSERT INTO pings (database_id, resource_id, shown, sealed_address, starts, set_by, set_at)
VALUES (sqlc.arg(database_id), sqlc.arg(resource_id), sqlc.arg(shown), sqlc.arg(sealed_address), sqlc.arg(starts), sqlc.arg(person), sqlc.arg(now))
ON CONFLICT (database_id) DO UPDATE
   SET shown = excluded.shown, sealed_address = excluded.sealed_address, starts = excluded.starts, set_by = excluded.set_by, set_at = excluded.set_at,
       asked = NULL, last_kind = '', last_ok = false, last_outcome = '', last_at = NULL;

-- name: RemovePing :execrows
DELETE FROM pings WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id);

-- name: AskPing :exec
UPDATE pings SET asked = sqlc.arg(asked)::uuid WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id);

-- name: SavePinged :exec
UPDATE pings SET last_kind = sqlc.arg(kind), last_ok = sqlc.arg(ok), last_outcome = sqlc.arg(outcome), last_at = sqlc.arg(now)::timestamptz
 WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id);

-- name: ForgetOutside :exec
-- Of a removed resource: nobody is called any more, and no badge is drawn.
WITH called AS (DELETE FROM pings WHERE pings.resource_id = sqlc.arg(resource_id))
DELETE FROM badges WHERE badges.resource_id = sqlc.arg(resource_id);
