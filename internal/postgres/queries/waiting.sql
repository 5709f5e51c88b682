-- name: WaitingBackups :one
-- Those that could begin, and since when the one that waits longest could. Runs in the service's scope.
SELECT count(*) AS backups, coalesce(extract(epoch FROM sqlc.arg(now)::timestamptz - min(coalesce(retry_at, queued_at))), 0)::double precision AS oldest
  FROM backups WHERE state = 'queued' AND coalesce(retry_at, queued_at) <= sqlc.arg(now)::timestamptz;

-- name: WaitingJobs :many
-- By queue: the jobs whose time has come and that no process has taken.
SELECT queue, count(*) AS jobs, greatest(extract(epoch FROM now() - min(scheduled_at)), 0)::double precision AS oldest
  FROM river.river_job WHERE state = 'available' GROUP BY queue;
