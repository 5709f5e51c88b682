-- All of these run in the service's scope, for the operator's pages, and name nothing of a customer's but its add-on.

-- name: CountResources :many
SELECT plan, state, count(*) AS n FROM resources GROUP BY plan, state ORDER BY plan, state;

-- name: CountFreshness :many
SELECT f.state, count(*) AS n FROM freshness f JOIN databases d ON d.id = f.database_id
 WHERE d.state <> 'detached' AND d.forgotten_at IS NULL GROUP BY f.state ORDER BY f.state;

-- name: CountJobs :many
-- That are not done.
SELECT kind, state::text AS state, count(*) AS n FROM river.river_job
 WHERE state IN ('available', 'pending', 'scheduled', 'retryable', 'running') GROUP BY kind, state ORDER BY kind, state;

-- name: CountRecentBackups :many
-- By what became of them, asked of each database's own newest ones.
SELECT b.state, b.reason, count(*) AS n
  FROM databases d CROSS JOIN LATERAL (SELECT x.state, x.reason FROM backups x WHERE x.database_id = d.id AND x.queued_at > sqlc.arg(since)) b
 GROUP BY b.state, b.reason ORDER BY b.state, b.reason;

-- name: StuckRuns :many
-- Whose lease has ended, or that take much longer than the database's last good backup did.
SELECT r.id, r.resource_id, r.backup_id, r.worker, r.state, r.lease_until, r.started_at, coalesce(h.took, interval '0')::interval AS usual
  FROM runs r JOIN backups b ON b.id = r.backup_id
  LEFT JOIN LATERAL (SELECT g.ended_at - g.started_at AS took FROM backups g
                      WHERE g.database_id = b.database_id AND g.state IN ('verified', 'proven') ORDER BY g.queued_at DESC LIMIT 1) h ON true
 WHERE r.state IN ('claimed', 'dumping', 'confirming')
   AND (r.lease_until < sqlc.arg(now)::timestamptz OR r.started_at < sqlc.arg(now)::timestamptz - greatest(3 * h.took, interval '15 minutes'))
 ORDER BY r.started_at LIMIT sqlc.arg(most);

-- name: FailingDeletions :many
SELECT id, resource_id, delete_at::timestamptz AS delete_at, delete_attempts FROM backups
 WHERE state = 'expired' AND delete_at < sqlc.arg(now)::timestamptz AND (delete_attempts > 0 OR delete_at < sqlc.arg(before)::timestamptz)
 ORDER BY delete_at LIMIT sqlc.arg(most);

-- name: FindResources :many
SELECT id, name, plan, state FROM resources WHERE id::text = sqlc.arg(words)::text OR name = sqlc.arg(words)::text ORDER BY id LIMIT 20;

-- name: OperatorDatabases :many
SELECT d.id, d.state, d.server_version, d.size_bytes, d.seen_at, coalesce(f.state, '')::text AS fresh,
       (SELECT count(*) FROM backups b WHERE b.database_id = d.id AND b.state IN ('verified', 'proven', 'incomplete')) AS backups,
       (SELECT coalesce(sum(b.stored_size), 0)::bigint FROM backups b WHERE b.database_id = d.id AND b.state IN ('verified', 'proven', 'incomplete', 'expired')) AS stored
  FROM databases d LEFT JOIN freshness f ON f.database_id = d.id
 WHERE d.resource_id = sqlc.arg(resource_id) ORDER BY d.found_at, d.id;

-- name: OperatorBackups :many
-- Without what pg_dump said, and without the lines that mend it, which have names of tables in them.
SELECT b.id, b.database_id, b.state, b.reason, b.attempts, b.tables, b.plain_size, b.stored_size, b.queued_at, b.started_at, b.ended_at
  FROM databases d CROSS JOIN LATERAL (SELECT x.id, x.database_id, x.state, x.reason, x.attempts, x.tables, x.plain_size, x.stored_size, x.queued_at, x.started_at, x.ended_at
                                     FROM backups x WHERE x.database_id = d.id ORDER BY x.queued_at DESC LIMIT 20) b
 WHERE d.resource_id = sqlc.arg(resource_id) ORDER BY b.queued_at DESC LIMIT 50;
