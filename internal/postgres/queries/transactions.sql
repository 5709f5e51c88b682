-- name: ScopeToResource :one
SELECT set_config('remora.resource', sqlc.arg(resource)::text, true), now()::timestamptz AS at;

-- name: ScopeToService :one
SELECT set_config('remora.service', 'on', true), now()::timestamptz AS at;

-- name: NarrowToResource :exec
-- Into a resource's scope, from the service's.
SELECT set_config('remora.service', 'off', true), set_config('remora.resource', sqlc.arg(resource)::text, true);

-- name: LeaveService :exec
-- Back to the resource's scope, within a transaction that had left it.
SELECT set_config('remora.service', 'off', true);

-- name: UnguardedTables :many
-- Those of customers' rows on which PostgreSQL lets the current role see everything, whatever the scope.
SELECT c.relname::text AS name FROM pg_catalog.pg_class c
 WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace AND NOT row_security_active(c.oid)
   AND (c.relname = 'resources' OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'resource_id' AND NOT a.attisdropped))
 ORDER BY c.relname;
