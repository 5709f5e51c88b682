-- next
DO $$ BEGIN
	CREATE ROLE "everykind reader";
EXCEPTION WHEN duplicate_object OR unique_violation THEN -- another database of the cluster has it, or is making it
END $$
-- next
CREATE SCHEMA "Every Kind"
-- next
COMMENT ON SCHEMA "Every Kind" IS E'a comment\nof two lines; with a semicolon'
-- next
GRANT USAGE ON SCHEMA "Every Kind" TO "everykind reader"
-- next
ALTER DEFAULT PRIVILEGES IN SCHEMA "Every Kind" GRANT SELECT ON TABLES TO "everykind reader"
-- next
SET search_path = "Every Kind", public
-- next
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = %L', current_database(), '5MB'); END $$
-- next
DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS %L', current_database(), 'of every kind'); END $$
-- next
CREATE EXTENSION hstore SCHEMA public
-- next
CREATE TYPE undefined
-- next
CREATE TYPE base
-- next
CREATE FUNCTION base_in(cstring) RETURNS base LANGUAGE internal IMMUTABLE STRICT AS 'textin'
-- next
CREATE FUNCTION base_out(base) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout'
-- next
CREATE TYPE base (input = base_in, output = base_out, like = text)
-- next
CREATE TYPE mood AS ENUM ('calm', 'it''s "odd"', '')
-- next
CREATE TYPE pair AS (a int, b text)
-- next
CREATE TYPE span AS RANGE (subtype = float8)
-- next
CREATE DOMAIN positive AS numeric CHECK (VALUE > 0)
-- next
ALTER DOMAIN positive ADD CONSTRAINT below CHECK (VALUE < 1e30) NOT VALID
-- next
CREATE COLLATION plain (locale = 'C')
-- next
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'
-- next
CREATE FUNCTION quoted() RETURNS text LANGUAGE plpgsql AS $body$ BEGIN RETURN $$;'"\$$; END $body$
-- next
CREATE PROCEDURE noting(text) LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '%', $1; END $$
-- next
CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int, initcond = '0')
-- next
CREATE FUNCTION same(pair, pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT ($1).a = ($2).a'
-- next
CREATE OPERATOR === (leftarg = pair, rightarg = pair, function = same)
-- next
CREATE OPERATOR FAMILY family USING hash
-- next
CREATE OPERATOR CLASS class FOR TYPE pair USING hash FAMILY family AS OPERATOR 1 ===
-- next
CREATE FUNCTION as_text(pair) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ($1).b'
-- next
CREATE CAST (pair AS text) WITH FUNCTION as_text(pair)
-- next
CREATE CONVERSION latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8
-- next
CREATE ACCESS METHOD second_heap TYPE TABLE HANDLER heap_tableam_handler
-- next
CREATE FUNCTION speaking() RETURNS language_handler LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler'
-- next
CREATE LANGUAGE spoken HANDLER speaking
-- next
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal), TO SQL WITH FUNCTION int4recv(internal))
-- next
CREATE TEXT SEARCH PARSER parser (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype)
-- next
CREATE TEXT SEARCH TEMPLATE template (init = dsimple_init, lexize = dsimple_lexize)
-- next
CREATE TEXT SEARCH DICTIONARY dictionary (template = template)
-- next
CREATE TEXT SEARCH CONFIGURATION configuration (parser = parser)
-- next
ALTER TEXT SEARCH CONFIGURATION configuration ADD MAPPING FOR word WITH dictionary
-- next
CREATE FOREIGN DATA WRAPPER wrapper
-- next
CREATE SERVER far FOREIGN DATA WRAPPER wrapper OPTIONS (host 'nowhere')
-- next
CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (password 'none')
-- next
CREATE FOREIGN TABLE far_away (id int) SERVER far
-- next
CREATE TABLE kinds (
	id serial PRIMARY KEY, always int GENERATED ALWAYS AS IDENTITY, doubled int GENERATED ALWAYS AS (always * 2) STORED,
	mood mood DEFAULT 'calm', price positive, name text COLLATE plain, tags public.hstore, one pair, during span, "Line
feed" text, checked int, EXCLUDE USING gist (during WITH &&)
)
-- next
INSERT INTO kinds (mood, price, name, tags, one, during, "Line
feed") SELECT 'it''s "odd"', g + 0.5, E'tab\t back\\slash \\. ' || g, 'a=>1', ROW(g, 'x')::pair, span(g, g + 0.5), E'line\nfeed\r' FROM generate_series(1, 300) g
-- next
INSERT INTO kinds (mood) VALUES ('')
-- next
ALTER TABLE kinds ADD CONSTRAINT later CHECK (checked > 0) NOT VALID
-- next
COMMENT ON COLUMN kinds."Line
feed" IS 'two lines'
-- next
GRANT SELECT (id, name) ON kinds TO "everykind reader"
-- next
CREATE INDEX ON kinds (name) WHERE price > 2
-- next
CREATE STATISTICS related ON id, price FROM kinds
-- next
ALTER TABLE kinds CLUSTER ON kinds_pkey
-- next
CREATE TABLE referring (kind int REFERENCES kinds (id) DEFERRABLE)
-- next
INSERT INTO referring VALUES (1), (NULL)
-- next
CREATE TABLE parts (id int PRIMARY KEY, at date) PARTITION BY RANGE (id)
-- next
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10)
-- next
CREATE TABLE parts_2 PARTITION OF parts DEFAULT
-- next
INSERT INTO parts VALUES (1, '2026-01-01'), (11, 'infinity')
-- next
CREATE TABLE inheriting (more text) INHERITS (referring)
-- next
CREATE TABLE second (id int) USING second_heap
-- next
CREATE TABLE columnless ()
-- next
INSERT INTO columnless SELECT FROM generate_series(1, 5)
-- next
CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS id
-- next
CREATE VIEW seen WITH (security_barrier) AS SELECT id, name FROM kinds
-- next
ALTER VIEW seen ALTER name SET DEFAULT 'x'
-- next
CREATE MATERIALIZED VIEW kept AS SELECT count(*) FROM kinds
-- next
CREATE SEQUENCE counting START -3 MINVALUE -5 CYCLE
-- next
SELECT setval('counting', 7, false)
-- next
CREATE RULE quiet AS ON DELETE TO referring DO INSTEAD NOTHING
-- next
CREATE FUNCTION unchanged() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'
-- next
CREATE TRIGGER before_change BEFORE UPDATE ON kinds FOR EACH ROW WHEN (NEW.id > 5) EXECUTE FUNCTION unchanged()
-- next
ALTER TABLE kinds DISABLE TRIGGER before_change
-- next
CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'
-- next
CREATE EVENT TRIGGER watching ON ddl_command_end EXECUTE FUNCTION watch()
-- next
ALTER TABLE second ENABLE ROW LEVEL SECURITY
-- next
CREATE POLICY own ON second FOR SELECT TO "everykind reader" USING (id > 0)
-- next
CREATE PUBLICATION several FOR TABLE kinds
-- next 15
CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA "Every Kind"
-- next
CREATE SUBSCRIPTION nowhere CONNECTION 'host=nowhere' PUBLICATION other WITH (connect = false, slot_name = NONE)
-- next
SELECT lo_from_bytea(4000000000, 'large'), lo_from_bytea(7000, ''), lo_from_bytea(7001, decode(repeat('00ff', 70000), 'hex'))
-- next
GRANT SELECT ON LARGE OBJECT 7001 TO "everykind reader"
-- next
COMMENT ON LARGE OBJECT 7001 IS 'of two bytes, many times'
