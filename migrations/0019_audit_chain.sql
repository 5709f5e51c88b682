-- +goose Up

-- The migration itself works on everybody's rows.
SELECT set_config('remora.service', 'on', true);

-- Each resource's audit rows are a chain: a row's hash is of what it says and of the hash before it, so that none can be
-- changed, left out or put in between without all that follow being made anew. docs/audit.md has the recipe. A row is put
-- into its chain by the database, whoever inserts it.
ALTER TABLE audit_log
    ADD COLUMN seq      bigint,                              -- from 1, without a gap in a resource
    ADD COLUMN previous bytea,                               -- the hash of the row before; 32 zeros before the first
    ADD COLUMN hash     bytea;

-- Where each chain ends. Whoever adds to one holds this row until its transaction ends, so that a chain has one end.
CREATE TABLE audit_chains (
    resource_id uuid   PRIMARY KEY REFERENCES resources,
    length      bigint NOT NULL DEFAULT 0,
    hash        bytea  NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
);

-- +goose StatementBegin
CREATE FUNCTION remora_netstring(word text) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN convert_to(octet_length(convert_to(word, 'UTF8'))::text || ':', 'UTF8') || convert_to(word, 'UTF8') || convert_to(',', 'UTF8');
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION remora_audit_hash(previous bytea, resource uuid, seq bigint, at timestamptz, actor text, action text, subject text) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN sha256(remora_netstring(encode(previous, 'hex')) || remora_netstring(resource::text) || remora_netstring(seq::text)
        || remora_netstring(to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        || remora_netstring(actor) || remora_netstring(action) || remora_netstring(subject));
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION remora_audit_chain() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    SELECT length + 1, hash INTO NEW.seq, NEW.previous FROM audit_chains WHERE resource_id = NEW.resource_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        INSERT INTO audit_chains (resource_id) VALUES (NEW.resource_id) ON CONFLICT DO NOTHING;
        SELECT length + 1, hash INTO STRICT NEW.seq, NEW.previous FROM audit_chains WHERE resource_id = NEW.resource_id FOR NO KEY UPDATE;
    END IF;
    NEW.hash := remora_audit_hash(NEW.previous, NEW.resource_id, NEW.seq, NEW.at, NEW.actor, NEW.action, NEW.subject);
    UPDATE audit_chains SET length = NEW.seq, hash = NEW.hash WHERE resource_id = NEW.resource_id;
    RETURN NEW;
END
$$;
-- +goose StatementEnd

-- What was written down before this release is chained now, in its order.
-- +goose StatementBegin
DO $$
DECLARE
    row audit_log;
    resource uuid;
    n bigint;
    h bytea;
    before bytea;
BEGIN
    FOR row IN SELECT * FROM audit_log ORDER BY resource_id, id LOOP
        IF resource IS DISTINCT FROM row.resource_id THEN
            resource := row.resource_id;
            n := 0;
            h := decode(repeat('00', 32), 'hex');
        END IF;
        n := n + 1;
        before := h;
        h := remora_audit_hash(before, resource, n, row.at, row.actor, row.action, row.subject);
        UPDATE audit_log SET seq = n, previous = before, hash = h WHERE id = row.id;
        INSERT INTO audit_chains (resource_id, length, hash) VALUES (resource, n, h)
            ON CONFLICT (resource_id) DO UPDATE SET length = excluded.length, hash = excluded.hash;
    END LOOP;
END
$$;
-- +goose StatementEnd

ALTER TABLE audit_log ALTER COLUMN seq SET NOT NULL, ALTER COLUMN previous SET NOT NULL, ALTER COLUMN hash SET NOT NULL;
CREATE UNIQUE INDEX audit_log_chain ON audit_log (resource_id, seq);
CREATE INDEX audit_log_by_action ON audit_log (resource_id, action, seq);
CREATE TRIGGER chained BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION remora_audit_chain();

-- Rows are added and stay, whatever the service's role asks for. With a removed add-on its log may go.
-- +goose StatementBegin
CREATE FUNCTION remora_audit_stays() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF EXISTS (SELECT FROM resources WHERE id = OLD.resource_id AND state = 'deprovisioned') THEN
            RETURN OLD;
        END IF;
    ELSIF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'audit_chains' AND pg_trigger_depth() > 1 THEN
        RETURN NEW; -- a row is added to the chain
    END IF;
    RAISE EXCEPTION 'the audit log is only added to' USING ERRCODE = 'restrict_violation';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION remora_audit_stays();
CREATE TRIGGER stays_whole BEFORE TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION remora_audit_stays();
CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON audit_chains FOR EACH ROW EXECUTE FUNCTION remora_audit_stays();
CREATE TRIGGER stays_whole BEFORE TRUNCATE ON audit_chains FOR EACH STATEMENT EXECUTE FUNCTION remora_audit_stays();

ALTER TABLE audit_chains ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_chains FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON audit_chains USING (remora_visible(resource_id)) WITH CHECK (remora_visible(resource_id));
