-- name: ScopeToResource :one
SELECT set_config('remora.resource', sqlc.arg(resource)::text, true), now()::timestamptz AS at;

-- name: ScopeToService :one
SELECT set_config('remora.service', 'on', true), now()::timestamptz AS at;

-- name: LeaveService :exec
-- Back to the resource's scope, within a transaction that had left it.
SELECT set_config('remora.service', 'off', true);
