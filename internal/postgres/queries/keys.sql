-- name: SealedColumns :many
-- Every column of ours that holds sealed values, and the one that says whose they are: a column named sealed_… is one.
SELECT c.relname::text AS table_name, a.attname::text AS column_name,
       (CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_attribute o WHERE o.attrelid = c.oid AND o.attname = 'resource_id' AND NOT o.attisdropped)
             THEN 'resource_id' ELSE 'id' END)::text AS owner
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
 WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text = current_schema() AND a.attname LIKE 'sealed\_%' AND NOT a.attisdropped
   AND a.atttypid = 'pg_catalog.bytea'::regtype
 ORDER BY c.relname, a.attname;

-- name: AddRetiredKey :execrows
INSERT INTO retired_keys (id, purpose, sealed_mac_key, retired_at)
VALUES (sqlc.arg(id), sqlc.arg(purpose), sqlc.arg(sealed_mac_key), sqlc.arg(now))
ON CONFLICT DO NOTHING;

-- name: RetiredKeys :many
SELECT * FROM retired_keys ORDER BY id, purpose;

-- name: AddressesToSign :many
-- Channels whose address was signed by another key than the one that these bytes begin with.
SELECT id, resource_id, kind, sealed_address, address_mac FROM channels
 WHERE sealed_address IS NOT NULL AND id > sqlc.arg(after) AND substring(address_mac FOR length(sqlc.arg(by)::bytea)) <> sqlc.arg(by)::bytea
 ORDER BY id LIMIT sqlc.arg(most);

-- name: SignAddress :execrows
UPDATE channels SET address_mac = sqlc.arg(address_mac) WHERE id = sqlc.arg(id) AND resource_id = sqlc.arg(resource_id) AND address_mac = sqlc.arg(was);
