-- name: StatesOf :many
-- Of the backups of some ids. In the service's scope.
SELECT id, state FROM backups WHERE id = ANY (sqlc.arg(ids)::uuid[]);

-- name: RebuildResource :execrows
-- Without Heroku's tokens, which are nowhere else: its Helper App is read with the service account's.
INSERT INTO resources (id, name, plan, region, state, helper_app_id, helper_app, sealed_key, recipient, created_at, ready_at, deprovisioned_at, marked_at)
VALUES (sqlc.arg(id), sqlc.arg(name), sqlc.arg(plan), sqlc.arg(region), sqlc.arg(state), sqlc.arg(helper_app_id), sqlc.arg(helper_app),
        sqlc.arg(sealed_key), sqlc.arg(recipient), sqlc.arg(created_at), sqlc.arg(created_at), sqlc.narg(removed_at), sqlc.narg(removed_at))
ON CONFLICT (id) DO NOTHING;

-- name: RebuildDatabase :one
-- One that Heroku's id names already keeps its own. Whether it is attached now, the next look at the Helper App says.
INSERT INTO databases (id, resource_id, addon_id, addon, owner_app, attachment, credential, beside, plan, state, found_at, seen_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(addon_id), sqlc.arg(addon), sqlc.arg(owner_app), sqlc.arg(attachment), sqlc.arg(credential),
        sqlc.arg(beside), sqlc.arg(plan), 'detached', sqlc.arg(found_at), sqlc.arg(seen_at))
ON CONFLICT (resource_id, addon_id) DO UPDATE SET addon_id = excluded.addon_id
RETURNING id, (xmax = 0)::boolean AS added;

-- name: RebuildBackup :execrows
-- One that our database takes for queued or running, since it was put back, has ended: its archive is there, in our bucket.
INSERT INTO backups (id, resource_id, database_id, requested_by, state, reason, detail, epoch, attempts, server_version, client_version, client_major,
                     archive_version, tables, rows, plain_size, stored_size, peak_memory, queued_at, started_at, ended_at, reread_at, opened_by, alone)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(database_id), sqlc.arg(requested_by), sqlc.arg(state), sqlc.arg(reason), sqlc.arg(detail),
        sqlc.arg(epoch), sqlc.arg(epoch), sqlc.arg(server_version), sqlc.arg(client_version), sqlc.arg(client_major), sqlc.arg(archive_version),
        sqlc.arg(tables), sqlc.arg(rows), sqlc.arg(plain_size), sqlc.arg(stored_size), sqlc.arg(peak_memory), sqlc.arg(queued_at), sqlc.arg(started_at),
        sqlc.arg(ended_at), sqlc.arg(reread_at), sqlc.arg(opened_by), sqlc.arg(alone))
ON CONFLICT (id) DO UPDATE
   SET state = excluded.state, reason = excluded.reason, detail = excluded.detail, fix = '', epoch = excluded.epoch, retry_at = NULL,
       server_version = excluded.server_version, client_version = excluded.client_version, client_major = excluded.client_major,
       archive_version = excluded.archive_version, tables = excluded.tables, rows = excluded.rows, plain_size = excluded.plain_size,
       stored_size = excluded.stored_size, peak_memory = excluded.peak_memory, started_at = coalesce(backups.started_at, excluded.started_at),
       ended_at = excluded.ended_at, reread_at = excluded.reread_at, opened_by = excluded.opened_by, alone = excluded.alone, bucket_id = NULL
 WHERE backups.state IN ('queued', 'running') AND backups.epoch <= excluded.epoch;

-- name: RebuildRetention :exec
-- What somebody had set, where nothing is known that was set later.
INSERT INTO retentions (id, resource_id, database_id, last, days, hourly, daily, weekly, monthly, yearly, zone, set_by, set_at, effective_at)
SELECT sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(database_id), sqlc.arg(last), sqlc.arg(days), sqlc.arg(hourly), sqlc.arg(daily),
       sqlc.arg(weekly), sqlc.arg(monthly), sqlc.arg(yearly), sqlc.arg(zone), sqlc.arg(set_by), sqlc.arg(set_at), sqlc.arg(set_at)
 WHERE NOT EXISTS (SELECT FROM retentions r WHERE r.database_id = sqlc.arg(database_id) AND r.set_at >= sqlc.arg(set_at));

-- name: RebuildSealing :execrows
-- The same of whose keys archives are sealed to.
INSERT INTO sealings (id, resource_id, recipients, alone, shown, set_by, set_at)
SELECT sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(recipients)::text[], sqlc.arg(alone), sqlc.arg(shown), sqlc.arg(set_by), sqlc.arg(set_at)
 WHERE NOT EXISTS (SELECT FROM sealings s WHERE s.resource_id = sqlc.arg(resource_id) AND s.set_at >= sqlc.arg(set_at));

-- name: RebuildRemoval :exec
-- Of an add-on that the bucket says was removed: what becomes of it goes on.
INSERT INTO removals (resource_id, asked_at, undo_until, databases, backups, objects, bytes)
VALUES (sqlc.arg(resource_id), sqlc.arg(asked_at), sqlc.arg(undo_until), 0, sqlc.arg(backups), sqlc.arg(objects), sqlc.arg(bytes))
ON CONFLICT (resource_id) DO NOTHING;
