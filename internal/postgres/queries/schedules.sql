-- name: InsertSchedule :execrows
INSERT INTO schedules (id, resource_id, database_id, minute, next_run_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(database_id), sqlc.arg(minute), sqlc.arg(next_run_at))
ON CONFLICT (database_id) DO NOTHING;

-- name: LockSchedule :one
SELECT * FROM schedules WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id) FOR NO KEY UPDATE;

-- name: GetSchedule :one
SELECT * FROM schedules WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id);

-- name: LockDueSchedules :many
-- Of everybody in the service's scope; of one resource, or one database of it, in a resource's. What else is asked of a schedule is
-- looked up for those that are due: in a join the planner, which takes few rows to be in scope, would begin with all databases.
SELECT sqlc.embed(s), (SELECT d.state FROM databases d WHERE d.id = s.database_id)::text AS database_state,
       r.plan::text AS plan, r.region::text AS region
  FROM schedules s
 CROSS JOIN LATERAL (SELECT x.state, x.region, CASE WHEN x.shrinks_at > sqlc.arg(now) THEN x.shrinks_from ELSE x.plan END AS plan
                       FROM resources x WHERE x.id = s.resource_id OFFSET 0) r
 WHERE s.next_run_at <= sqlc.arg(now) AND r.state <> 'deprovisioned'
   AND (sqlc.narg(database_id)::uuid IS NULL OR s.database_id = sqlc.narg(database_id)::uuid)
 ORDER BY s.next_run_at LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF s SKIP LOCKED;

-- name: MoveSchedules :exec
-- Each to its next occurrence. ran is when the newest occurrence that asked for a backup was due, or year 1.
UPDATE schedules s SET next_run_at = u.next, ran_at = nullif(u.ran, timestamptz '0001-01-01 00:00:00+00'), brought_at = sqlc.arg(now)
  FROM (SELECT unnest(sqlc.arg(ids)::uuid[]) AS id, unnest(sqlc.arg(nexts)::timestamptz[]) AS next,
               unnest(sqlc.arg(rans)::timestamptz[]) AS ran) u
 WHERE s.id = u.id;

-- name: LockAheadSchedules :many
-- In the service's scope: those that were brought up to a time that has not come yet.
SELECT s.* FROM schedules s
 WHERE s.brought_at > sqlc.arg(after)::timestamptz
   AND EXISTS (SELECT FROM resources r WHERE r.id = s.resource_id AND r.state <> 'deprovisioned')
 LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF s SKIP LOCKED;

-- name: ForgetAhead :exec
-- What was written down of times that have not come yet, but for those that have a backup already.
DELETE FROM occurrences WHERE schedule_id = ANY (sqlc.arg(schedules)::uuid[]) AND at > sqlc.arg(now) AND backup_id IS NULL;

-- name: PromiseBack :exec
-- What was set at a time that has not come yet was set now: else nobody would hear of a late backup until then.
UPDATE schedules SET changed_at = sqlc.arg(now), promised_at = least(promised_at, next_run_at)
 WHERE id = ANY (sqlc.arg(schedules)::uuid[]) AND changed_at > sqlc.arg(now);

-- name: EndSchedules :exec
-- Of a removed resource: none is due any more, and no tick comes past them.
UPDATE schedules SET next_run_at = timestamptz '9999-12-31 00:00:00+00' WHERE resource_id = sqlc.arg(resource_id);

-- name: InsertDueBackups :many
-- A database that has a live backup gets none.
INSERT INTO backups (id, resource_id, database_id, schedule_id, occurrence, state, queued_at)
SELECT unnest(sqlc.arg(ids)::uuid[]), unnest(sqlc.arg(resources)::uuid[]), unnest(sqlc.arg(databases)::uuid[]),
       unnest(sqlc.arg(schedules)::uuid[]), unnest(sqlc.arg(occurrences)::timestamptz[]), 'queued', sqlc.arg(now)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: InsertOccurrences :exec
-- An empty backup is none.
INSERT INTO occurrences (schedule_id, at, resource_id, database_id, backup_id, outcome, reason, ended_at)
SELECT u.schedule, u.at, u.resource, u.database, nullif(u.backup, '')::uuid,
       CASE WHEN u.backup = '' THEN 'skipped' ELSE 'pending' END, u.reason,
       CASE WHEN u.backup = '' THEN sqlc.arg(now)::timestamptz END
  FROM (SELECT unnest(sqlc.arg(schedules)::uuid[]) AS schedule, unnest(sqlc.arg(ats)::timestamptz[]) AS at,
               unnest(sqlc.arg(resources)::uuid[]) AS resource, unnest(sqlc.arg(databases)::uuid[]) AS database,
               unnest(sqlc.arg(backups)::text[]) AS backup, unnest(sqlc.arg(reasons)::text[]) AS reason) u
ON CONFLICT (schedule_id, at) DO NOTHING;

-- name: EndOccurrences :exec
-- Of backups that have ended, all in one way, in the transaction that ended them.
UPDATE occurrences SET outcome = sqlc.arg(outcome), reason = sqlc.arg(reason), ended_at = sqlc.arg(now)
 WHERE backup_id = ANY (sqlc.arg(backups)::uuid[]);

-- name: LockLeftOccurrences :many
-- Of backups that were ended by a process of an older release, which knew no occurrences, with what became of them. Each
-- backup is looked up by itself: a join would read all of them for each occurrence where the planner thinks that there are few.
SELECT p.backup_id::uuid AS backup_id, b.state::text AS state, b.reason::text AS reason
  FROM occurrences p CROSS JOIN LATERAL (SELECT x.state, x.reason FROM backups x WHERE x.id = p.backup_id OFFSET 0) b
 WHERE p.outcome = 'pending' AND b.state NOT IN ('queued', 'running')
 LIMIT sqlc.arg(most) FOR NO KEY UPDATE OF p SKIP LOCKED;

-- name: ListOccurrences :many
SELECT * FROM occurrences WHERE schedule_id = sqlc.arg(schedule_id) AND resource_id = sqlc.arg(resource_id)
 ORDER BY at DESC LIMIT sqlc.arg(most);

-- name: PurgeOccurrences :execrows
-- In the service's scope: those that were due and ended before a time, but for the newest of each schedule. A schedule that has none
-- so old costs one look into the primary key.
DELETE FROM occurrences o
 USING (SELECT x.schedule_id, x.at
          FROM (SELECT s.id, (SELECT k.at FROM occurrences k WHERE k.schedule_id = s.id ORDER BY k.at DESC OFFSET sqlc.arg(newest)::integer - 1 LIMIT 1) AS newest
                  FROM schedules s
                 WHERE EXISTS (SELECT FROM occurrences k WHERE k.schedule_id = s.id AND k.at < sqlc.arg(before) AND k.ended_at < sqlc.arg(before))
                OFFSET 0) s
          JOIN occurrences x ON x.schedule_id = s.id AND x.at < s.newest AND x.at < sqlc.arg(before) AND x.ended_at < sqlc.arg(before)
         LIMIT sqlc.arg(most)) old
 WHERE o.schedule_id = old.schedule_id AND o.at = old.at;

-- name: LastOccurrence :one
SELECT coalesce(max(at), timestamptz '0001-01-01 00:00:00+00')::timestamptz AS at FROM occurrences
 WHERE schedule_id = sqlc.arg(schedule_id) AND resource_id = sqlc.arg(resource_id);

-- name: SetSchedule :exec
UPDATE schedules
   SET kind = sqlc.arg(kind), hours = sqlc.arg(hours), minute = sqlc.arg(minute), weekday = sqlc.arg(weekday), day = sqlc.arg(day),
       cron = sqlc.arg(cron), zone = sqlc.arg(zone), next_run_at = sqlc.arg(next_run_at), promised_at = sqlc.arg(promised_at), changed_at = sqlc.arg(now), changed_by = sqlc.arg(person)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);

-- name: NewestGood :one
-- When the newest backup of a database that was verified was asked for; year 1 where there is none.
SELECT coalesce(max(queued_at), timestamptz '0001-01-01 00:00:00+00')::timestamptz AS at FROM backups
 WHERE database_id = sqlc.arg(database_id) AND resource_id = sqlc.arg(resource_id) AND state IN ('verified', 'proven') AND queued_at <= sqlc.arg(now);

-- name: SetPause :exec
UPDATE schedules SET paused_at = sqlc.narg(paused_at), paused_by = sqlc.arg(paused_by), pause_reason = sqlc.arg(pause_reason)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id);
