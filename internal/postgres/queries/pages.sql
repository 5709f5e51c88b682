-- name: BackupsOfDatabase :many
-- A page of a database's backups, newest first, with the live run's progress. Which they are is settled before more is read
-- of any.
SELECT sqlc.embed(b), d.addon, d.owner_app,
       r.state AS run_state, r.bytes AS run_bytes, r.bytes_out AS run_bytes_out, r.tables_done, r.tables_total, r.current, r.started_at AS run_started_at
  FROM (SELECT x.id FROM backups x
         WHERE x.database_id = sqlc.arg(database_id) AND x.resource_id = sqlc.arg(resource_id)
           AND (cardinality(sqlc.arg(states)::text[]) = 0 OR x.state = ANY (sqlc.arg(states)::text[]))
           AND (sqlc.narg(before)::timestamptz IS NULL OR x.queued_at < sqlc.narg(before)::timestamptz)
         ORDER BY x.queued_at DESC LIMIT sqlc.arg(most)) n
  JOIN backups b ON b.id = n.id
  JOIN databases d ON d.id = b.database_id
  LEFT JOIN runs r ON r.backup_id = b.id AND r.state IN ('claimed', 'dumping', 'confirming')
 ORDER BY b.queued_at DESC;

-- name: CountBackups :many
SELECT state, count(*) AS n FROM backups WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id) GROUP BY state;

-- name: StoredOf :many
-- What lies in the store, of each of a resource's databases.
SELECT b.database_id, count(*) AS n, coalesce(sum(b.stored_size), 0)::bigint AS bytes
  FROM databases d JOIN backups b ON b.database_id = d.id
 WHERE d.resource_id = sqlc.arg(resource_id) AND b.state IN ('verified', 'proven', 'incomplete', 'expired')
 GROUP BY b.database_id;

-- name: LastGoods :many
-- The newest good backup of each of a resource's databases.
SELECT sqlc.embed(b), d.addon, d.owner_app
  FROM databases d
  CROSS JOIN LATERAL (SELECT x.id FROM backups x WHERE x.database_id = d.id AND x.state IN ('verified', 'proven') ORDER BY x.queued_at DESC LIMIT 1) n
  JOIN backups b ON b.id = n.id
 WHERE d.resource_id = sqlc.arg(resource_id);

-- name: LiveRun :one
-- How far a backup is that a worker holds.
SELECT state, bytes, bytes_out, tables_done, tables_total, current, started_at
  FROM runs WHERE backup_id = sqlc.arg(backup_id) AND resource_id = sqlc.arg(resource_id) AND state IN ('claimed', 'dumping', 'confirming');
