-- name: SaveRunAudit :execrows
-- The report of a live run; a later run's takes its place.
INSERT INTO audits (id, resource_id, database_id, backup_id, at, role, findings, more, witness_before, standby)
SELECT sqlc.arg(id), r.resource_id, sqlc.arg(database_id), r.backup_id, sqlc.arg(now), sqlc.arg(role), sqlc.arg(findings), sqlc.arg(more),
       sqlc.arg(witness_before), sqlc.arg(standby)
  FROM runs r
 WHERE r.id = sqlc.arg(run_id) AND r.resource_id = sqlc.arg(resource_id) AND r.epoch = sqlc.arg(epoch)
   AND r.state IN ('claimed', 'dumping', 'confirming')
ON CONFLICT (backup_id) DO UPDATE
   SET at = excluded.at, role = excluded.role, findings = excluded.findings, more = excluded.more, inventory = NULL,
       witness_before = excluded.witness_before, witness_after = 0, standby = excluded.standby;

-- name: SaveCheck :exec
INSERT INTO audits (id, resource_id, database_id, at, reason, detail, role, findings, more, standby)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(database_id), sqlc.arg(now), sqlc.arg(reason), sqlc.arg(detail), sqlc.arg(role),
        sqlc.arg(findings), sqlc.arg(more), sqlc.arg(standby))
ON CONFLICT (database_id) WHERE backup_id IS NULL DO UPDATE
   SET at = excluded.at, reason = excluded.reason, detail = excluded.detail, role = excluded.role, findings = excluded.findings,
       more = excluded.more, standby = excluded.standby;

-- name: EndAudit :exec
-- What is known once pg_dump has ended.
UPDATE audits SET inventory = sqlc.arg(inventory), witness_after = sqlc.arg(witness_after), standby = sqlc.arg(standby)
 WHERE backup_id = sqlc.arg(backup_id) AND resource_id = sqlc.arg(resource_id);

-- name: GetAudit :one
SELECT * FROM audits WHERE backup_id = sqlc.arg(backup_id) AND resource_id = sqlc.arg(resource_id);

-- name: ListNewestAudits :many
SELECT DISTINCT ON (database_id) * FROM audits WHERE resource_id = sqlc.arg(resource_id) ORDER BY database_id, at DESC;

-- name: ListAcknowledgements :many
SELECT * FROM acknowledgements WHERE resource_id = sqlc.arg(resource_id) ORDER BY at, code, object;

-- name: Acknowledge :execrows
INSERT INTO acknowledgements (resource_id, database_id, code, object, by, at)
VALUES (sqlc.arg(resource_id), sqlc.arg(database_id), sqlc.arg(code), sqlc.arg(object), sqlc.arg(by), sqlc.arg(now))
ON CONFLICT DO NOTHING;

-- name: AskForCheck :execrows
UPDATE databases SET check_asked_at = sqlc.arg(now)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND state = 'active'
   AND (check_asked_at IS NULL OR check_asked_at < sqlc.arg(stale));

-- name: EndCheck :exec
UPDATE databases SET check_asked_at = NULL WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);
