-- name: InsertSealing :exec
INSERT INTO sealings (id, resource_id, recipients, alone, shown, set_by, set_at)
VALUES (sqlc.arg(id), sqlc.arg(resource_id), sqlc.arg(recipients), sqlc.arg(alone), sqlc.arg(shown), sqlc.arg(person), sqlc.arg(now));

-- name: CurrentSealing :one
SELECT * FROM sealings WHERE resource_id = sqlc.arg(resource_id) ORDER BY set_at DESC, id DESC LIMIT 1;
