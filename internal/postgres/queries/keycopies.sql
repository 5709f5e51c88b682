-- name: KeysToCopy :many
-- Resources whose key the bucket has no copy of that the ring's first key has sealed, and whose own is sealed by it. In the service's scope.
SELECT id FROM resources
 WHERE state <> 'deprovisioned' AND ready_at IS NOT NULL AND substring(sealed_key FOR length(sqlc.arg(mark)::bytea)) = sqlc.arg(mark)::bytea
   AND NOT (sqlc.arg(by)::text = ANY (key_copies)) AND id > sqlc.arg(after)
 ORDER BY id LIMIT sqlc.arg(most);

-- name: AddKeyCopy :exec
-- Never of one that was removed meanwhile: the round that destroys its key may have passed.
UPDATE resources SET key_copies = array_append(key_copies, sqlc.arg(by)::text)
 WHERE id = sqlc.arg(id) AND state <> 'deprovisioned' AND NOT (sqlc.arg(by)::text = ANY (key_copies));

-- name: OldKeyCopies :many
-- Resources with a copy beside the one by the key that has sealed theirs. In the service's scope.
SELECT id, convert_from(substring(sealed_key FROM 3 FOR get_byte(sealed_key, 1)), 'UTF8')::text AS by FROM resources
 WHERE cardinality(key_copies) > 1 AND sealed_key IS NOT NULL
   AND convert_from(substring(sealed_key FROM 3 FOR get_byte(sealed_key, 1)), 'UTF8') = ANY (key_copies) AND id > sqlc.arg(after)
 ORDER BY id LIMIT sqlc.arg(most);

-- name: SetKeyCopies :exec
UPDATE resources SET key_copies = sqlc.arg(copies) WHERE id = sqlc.arg(id);

-- name: CountKeyCopies :many
-- How many copies of keys each master key has sealed in the bucket, and of retired keys' parts. In the service's scope.
SELECT by::text AS by, count(*) AS n
  FROM (SELECT unnest(key_copies) AS by FROM resources WHERE key_copies <> '{}' UNION ALL SELECT copied_by FROM retired_keys WHERE copied_by <> '') x
 GROUP BY by ORDER BY by;

-- name: RetiredToCopy :many
-- In the service's scope.
SELECT * FROM retired_keys
 WHERE copied_by <> sqlc.arg(by)::text AND substring(sealed_mac_key FOR length(sqlc.arg(mark)::bytea)) = sqlc.arg(mark)::bytea ORDER BY id, purpose;

-- name: SetRetiredCopied :exec
UPDATE retired_keys SET copied_by = sqlc.arg(by) WHERE id = sqlc.arg(id) AND purpose = sqlc.arg(purpose);

-- name: RemovalsToMark :many
-- Of which the bucket was not told. In the service's scope.
SELECT r.id, m.asked_at, m.undo_until FROM resources r JOIN removals m ON m.resource_id = r.id
 WHERE (r.state = 'deprovisioned') <> (r.marked_at IS NOT NULL) AND r.state = 'deprovisioned' AND r.id > sqlc.arg(after)
 ORDER BY r.id LIMIT sqlc.arg(most);

-- name: MarksToErase :many
-- Of removals that were undone, which the bucket was told of. In the service's scope.
SELECT id FROM resources
 WHERE (state = 'deprovisioned') <> (marked_at IS NOT NULL) AND state <> 'deprovisioned' AND id > sqlc.arg(after)
 ORDER BY id LIMIT sqlc.arg(most);

-- name: SetMarked :exec
UPDATE resources SET marked_at = sqlc.narg(at) WHERE id = sqlc.arg(id);

-- name: HoldDeletions :execrows
INSERT INTO deletion_holds (id, since, because) VALUES (sqlc.arg(id), sqlc.arg(now), sqlc.arg(because)) ON CONFLICT DO NOTHING;

-- name: NewestHold :one
-- The one in force, or the one that ended last.
SELECT * FROM deletion_holds ORDER BY ended_at DESC NULLS FIRST LIMIT 1;

-- name: EndHold :execrows
UPDATE deletion_holds SET ended_at = sqlc.arg(now) WHERE ended_at IS NULL;
