-- name: ListWaiting :many
SELECT e.* FROM news n JOIN events e ON e.id = n.event_id
 WHERE n.channel_id = sqlc.arg(channel_id) AND n.resource_id = sqlc.arg(resource_id) AND n.state = 'waiting'
 ORDER BY e.at, e.id LIMIT sqlc.arg(most);

-- name: ListTold :many
-- The newest of each database and kind.
SELECT DISTINCT ON (e.database_id, e.kind) e.*, n.told_at::timestamptz AS told_at
  FROM news n JOIN events e ON e.id = n.event_id
 WHERE n.channel_id = sqlc.arg(channel_id) AND n.resource_id = sqlc.arg(resource_id) AND n.state = 'told'
 ORDER BY e.database_id, e.kind, n.told_at DESC, e.at DESC;

-- name: NewestEvents :many
-- The newest of each kind, of each database that is attached, refused or not, and of the add-on itself.
SELECT DISTINCT ON (e.database_id, e.kind) e.*
  FROM events e LEFT JOIN databases d ON d.id = e.database_id
 WHERE e.resource_id = sqlc.arg(resource_id) AND (d.id IS NULL OR d.state <> 'detached')
 ORDER BY e.database_id, e.kind, e.at DESC;

-- name: CountMessages :one
SELECT max(queued_at)::timestamptz AS last, count(*) FILTER (WHERE queued_at > sqlc.arg(since)) AS since,
       count(*) FILTER (WHERE state = 'queued' AND attempts = 0) AS on_the_way
  FROM deliveries WHERE channel_id = sqlc.arg(channel_id) AND resource_id = sqlc.arg(resource_id) AND kind IN ('news', 'reminder')
HAVING count(*) > 0;

-- name: InsertDelivery :exec
INSERT INTO deliveries (id, resource_id, channel_id, kind, state, queued_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(channel_id), sqlc.arg(kind), 'queued', sqlc.arg(now));

-- name: HoldNews :exec
UPDATE news SET state = 'held' WHERE channel_id = sqlc.arg(channel_id) AND resource_id = sqlc.arg(resource_id)
   AND state = 'waiting' AND (sqlc.narg(events)::uuid[] IS NULL OR event_id = ANY (sqlc.narg(events)::uuid[]));

-- name: TellNews :exec
UPDATE news SET state = 'told', told_at = sqlc.arg(now), delivery_id = sqlc.arg(delivery_id)
 WHERE channel_id = sqlc.arg(channel_id) AND resource_id = sqlc.arg(resource_id) AND event_id = ANY (sqlc.arg(events)::uuid[]);

-- name: TellHeld :exec
-- What was held back of the same goes with it.
UPDATE news n SET delivery_id = sqlc.arg(delivery_id)
  FROM events e
 WHERE e.id = n.event_id AND n.channel_id = sqlc.arg(channel_id) AND n.resource_id = sqlc.arg(resource_id) AND n.state = 'held' AND n.delivery_id IS NULL
   AND e.database_id IS NOT DISTINCT FROM sqlc.narg(database_id)::uuid AND e.kind = ANY (sqlc.arg(kinds)::text[]);

-- name: FindDelivery :one
-- In the service's scope: the job knows the delivery only.
SELECT resource_id FROM deliveries WHERE id = sqlc.arg(id);

-- name: GetDelivery :one
SELECT sqlc.embed(d), sqlc.embed(c) FROM deliveries d JOIN channels c ON c.id = d.channel_id
 WHERE d.id = sqlc.arg(id) AND d.resource_id = sqlc.arg(resource_id);

-- name: ListNews :many
-- What a message tells of, and how much was held back with it.
SELECT sqlc.embed(e), n.state, coalesce(d.addon, '')::text AS addon, coalesce(d.owner_app, '')::text AS owner_app, coalesce(d.credential, '')::text AS credential
  FROM news n JOIN events e ON e.id = n.event_id LEFT JOIN databases d ON d.id = e.database_id
 WHERE n.delivery_id = sqlc.arg(delivery_id) AND n.resource_id = sqlc.arg(resource_id)
 ORDER BY e.at, e.id;

-- name: EndDelivery :execrows
UPDATE deliveries SET state = sqlc.arg(state), outcome = sqlc.arg(outcome), attempts = attempts + sqlc.arg(tries), ended_at = sqlc.narg(ended_at)
 WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND state = 'queued';

-- name: CountQueued :one
-- To channels that were not removed: a message to one of those ends when it is looked at.
SELECT count(*) FROM deliveries d JOIN channels c ON c.id = d.channel_id
 WHERE d.resource_id = sqlc.arg(resource_id) AND d.state = 'queued' AND c.removed_at IS NULL;

-- name: CountWaiting :one
-- For channels that will be told.
SELECT count(*) FROM news n JOIN channels c ON c.id = n.channel_id
 WHERE n.resource_id = sqlc.arg(resource_id) AND n.state = 'waiting' AND c.enabled AND c.confirmed_at IS NOT NULL AND c.removed_at IS NULL;

-- name: CountTests :one
SELECT count(*) FROM deliveries WHERE channel_id = sqlc.arg(channel_id) AND resource_id = sqlc.arg(resource_id) AND kind = 'test' AND queued_at > sqlc.arg(since);

-- name: ListDeliveries :many
SELECT sqlc.embed(d), sqlc.embed(c),
       ARRAY(SELECT DISTINCT e.kind FROM news n JOIN events e ON e.id = n.event_id WHERE n.delivery_id = d.id AND n.state = 'told' ORDER BY 1)::text[] AS kinds
  FROM deliveries d JOIN channels c ON c.id = d.channel_id
 WHERE d.resource_id = sqlc.arg(resource_id)
 ORDER BY d.queued_at DESC, d.id LIMIT sqlc.arg(most);

-- name: PurgeNews :execrows
-- In the service's scope: messages that ended long ago, with what they told.
WITH old AS (SELECT d.id FROM deliveries d WHERE d.queued_at < sqlc.arg(before) AND d.state <> 'queued' ORDER BY d.queued_at LIMIT sqlc.arg(most)),
     gone AS (DELETE FROM news WHERE delivery_id IN (SELECT id FROM old))
DELETE FROM deliveries WHERE id IN (SELECT id FROM old);

-- name: PurgeHeld :execrows
-- In the service's scope: what was held back long ago and went with no message, and what waited for a channel that was removed.
DELETE FROM news WHERE (channel_id, event_id) IN (
    SELECT n.channel_id, n.event_id FROM events e JOIN news n ON n.event_id = e.id JOIN channels c ON c.id = n.channel_id
     WHERE e.at < sqlc.arg(before) AND n.delivery_id IS NULL AND (n.state = 'held' OR c.removed_at IS NOT NULL)
     ORDER BY e.at LIMIT sqlc.arg(most));
