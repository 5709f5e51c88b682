-- name: InsertResource :execrows
INSERT INTO resources (id, name, plan, region, state, sealed_grant, grant_expires_at, sealed_key, recipient, created_at)
VALUES (sqlc.arg(id), sqlc.arg(name), sqlc.arg(plan), sqlc.arg(region), 'provisioning', sqlc.arg(sealed_grant),
        sqlc.narg(grant_expires_at), sqlc.arg(sealed_key), sqlc.arg(recipient), sqlc.arg(now))
ON CONFLICT (id) DO NOTHING;

-- name: InsertTombstone :exec
INSERT INTO resources (id, name, plan, region, state, created_at, deprovisioned_at)
VALUES (sqlc.arg(id), '', '', '', 'deprovisioned', sqlc.arg(now), sqlc.arg(now))
ON CONFLICT (id) DO NOTHING;

-- name: GetResource :one
SELECT * FROM resources WHERE id = sqlc.arg(id);

-- name: KeysInUse :many
-- The newest resource's sealed key for each key of the ring that has sealed any: the key's id comes first in it. Runs in
-- the service's scope.
SELECT DISTINCT ON (substring(sealed_key FOR 2 + get_byte(sealed_key, 1))) id, sealed_key
  FROM resources WHERE sealed_key IS NOT NULL
 ORDER BY substring(sealed_key FOR 2 + get_byte(sealed_key, 1)), created_at DESC;

-- name: LockResource :one
-- Not against rows that only point at it: they are added by those who hold one of its backups.
SELECT * FROM resources WHERE id = sqlc.arg(id) FOR NO KEY UPDATE;

-- name: SetOver :exec
-- Since when more is stored than the plan includes. One that is over already keeps its time.
UPDATE resources SET over_since = CASE WHEN sqlc.arg(over)::boolean THEN coalesce(over_since, sqlc.arg(now)) END WHERE id = sqlc.arg(id);

-- name: StoredBytes :one
-- In our own bucket. Database after database, of each from an index: a run asks twice, and there may be millions of backups.
SELECT coalesce(sum(x.stored), 0)::bigint FROM databases d
 CROSS JOIN LATERAL (SELECT sum(b.stored_size) AS stored FROM backups b WHERE b.database_id = d.id AND b.state IN ('verified', 'proven', 'incomplete') AND b.bucket_id IS NULL) x
 WHERE d.resource_id = sqlc.arg(resource_id);

-- name: SetServed :exec
UPDATE resources SET served_at = sqlc.arg(now) WHERE id = sqlc.arg(id);

-- name: SetPlan :exec
UPDATE resources SET plan = sqlc.arg(plan), shrinks_from = sqlc.arg(shrinks_from), shrinks_at = sqlc.narg(shrinks_at) WHERE id = sqlc.arg(id);

-- name: SetTokens :execrows
UPDATE resources
   SET sealed_access = sqlc.arg(sealed_access), access_expires_at = sqlc.arg(access_expires_at),
       sealed_refresh = sqlc.arg(sealed_refresh), sealed_grant = NULL, grant_expires_at = NULL,
       refresh_claimed_until = NULL,
       state = CASE WHEN attention <> 'token_revoked' THEN state WHEN ready_at IS NULL THEN 'provisioning' ELSE 'active' END,
       attention = CASE WHEN attention <> 'token_revoked' THEN attention ELSE '' END
 WHERE id = sqlc.arg(id) AND state <> 'deprovisioned';

-- name: ClaimRefresh :one
UPDATE resources
   SET refresh_claimed_until = now() + sqlc.arg(lease)::interval
 WHERE id = sqlc.arg(id) AND state <> 'deprovisioned' AND sealed_refresh IS NOT NULL
   AND access_expires_at IS NOT DISTINCT FROM sqlc.narg(seen_expiry)
   AND (refresh_claimed_until IS NULL OR refresh_claimed_until < now())
RETURNING sealed_refresh;

-- name: ReleaseRefresh :exec
UPDATE resources SET refresh_claimed_until = NULL WHERE id = sqlc.arg(id);

-- name: LockStrandedResources :many
-- Not ready, nobody was told to act, and no job will make them ready.
SELECT r.id FROM resources r
 WHERE r.state = 'provisioning' AND r.created_at < sqlc.arg(before)
   AND NOT EXISTS (SELECT 1 FROM river.river_job j
                    WHERE j.kind = 'make_ready' AND j.args @> jsonb_build_object('resource_id', r.id)
                      AND (j.state IN ('available', 'pending', 'scheduled', 'retryable')
                           OR j.state = 'running' AND j.attempted_at > now() - sqlc.arg(lease)::interval))
 ORDER BY r.created_at LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF r SKIP LOCKED;

-- name: SetReady :execrows
UPDATE resources
   SET state = 'active', attention = '', ready_at = sqlc.arg(now), helper_app_id = sqlc.arg(helper_app_id), helper_app = sqlc.arg(helper_app)
 WHERE id = sqlc.arg(id) AND state <> 'deprovisioned';

-- name: SetAttention :execrows
UPDATE resources SET state = 'needs_attention', attention = sqlc.arg(attention)
 WHERE id = sqlc.arg(id) AND state <> 'deprovisioned' AND (state <> 'needs_attention' OR attention <> sqlc.arg(attention));

-- name: SetChecked :exec
-- A check that waits keeps its time.
UPDATE resources SET checked_at = greatest(checked_at, sqlc.arg(now)), listed_at = sqlc.arg(now) WHERE id = sqlc.arg(id);

-- name: ClaimCheck :one
-- The time of the resource's next check, at most one a while; nothing where one waits already.
UPDATE resources SET checked_at = greatest(sqlc.arg(now)::timestamptz, checked_at + sqlc.arg(gap)::interval)
 WHERE id = sqlc.arg(id) AND (checked_at IS NULL OR checked_at <= sqlc.arg(now))
RETURNING checked_at::timestamptz AS at;

-- name: CountChecks :one
-- In the service's scope.
SELECT count(*) FROM resources WHERE checked_at > sqlc.arg(since);

-- name: SetHelperApp :exec
UPDATE resources SET helper_app = sqlc.arg(helper_app) WHERE id = sqlc.arg(id);

-- name: ClearAttention :execrows
UPDATE resources SET state = 'active', attention = ''
 WHERE id = sqlc.arg(id) AND state = 'needs_attention' AND attention <> 'token_revoked' AND ready_at IS NOT NULL;

-- name: Deprovision :execrows
UPDATE resources
   SET state = 'deprovisioned', deprovisioned_at = sqlc.arg(now), attention = '', sealed_grant = NULL,
       grant_expires_at = NULL, sealed_access = NULL, access_expires_at = NULL, sealed_refresh = NULL
 WHERE id = sqlc.arg(id) AND state <> 'deprovisioned';

-- name: ResourcesBack :exec
-- In the service's scope: what was written down at a time that has not come yet holds nobody up until then.
UPDATE resources SET checked_at = CASE WHEN checked_at > sqlc.arg(after) THEN NULL ELSE checked_at END,
       served_at = CASE WHEN served_at > sqlc.arg(after) THEN NULL ELSE served_at END
 WHERE checked_at > sqlc.arg(after) OR served_at > sqlc.arg(after);

-- name: ClaimChecks :many
-- Resources whose attachments were not listed for a while. Each is handed out once a period.
UPDATE resources SET checked_at = sqlc.arg(now)
 WHERE id IN (SELECT r.id FROM resources r
               WHERE r.state IN ('active', 'needs_attention') AND r.ready_at IS NOT NULL AND r.attention <> 'token_revoked'
                 AND (r.checked_at IS NULL OR r.checked_at <= sqlc.arg(before))
               ORDER BY r.checked_at NULLS FIRST LIMIT sqlc.arg(most) FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id;
