-- name: ScopeToResource :one
SELECT set_config('remora.resource', sqlc.arg(resource)::text, true), now()::timestamptz AS at;

-- name: ScopeToService :one
SELECT set_config('remora.service', 'on', true), now()::timestamptz AS at;
