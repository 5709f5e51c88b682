package customerdb_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/remora"
)

// client is pg_dump of the server's own major. PG_BIN_DIR names another one to try all this on.
func client(t *testing.T) pgdump.Client {
	t.Helper()
	c, err := cluster()
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range pgdump.Find(t.Context(), []string{c.BinDir()}, "") {
		if found.Dir == c.BinDir() {
			return found
		}
	}
	t.Fatal("the server has no client of its own")
	return pgdump.Client{}
}

func readAll(t *testing.T, cfg pgdump.Config) error {
	t.Helper()
	d, err := pgdump.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, err = io.Copy(io.Discard, d)
	return err
}

// attempts are what every role of the matrix really tries, each in a transaction that is rolled back, in the session
// settings that a role has by itself.
var attempts = []struct {
	name, sql string
	alone     bool // cannot be in a transaction
}{
	{"insert", "INSERT INTO t VALUES (-2)", false},
	{"update", "UPDATE t SET secret = ''", false},
	{"update a column", "UPDATE t SET id = -id", false},
	{"delete", "DELETE FROM t", false},
	{"truncate", "TRUNCATE t", false},
	{"insert into a partition", "INSERT INTO p1 VALUES (2, '2026-03-04')", false},
	{"insert into a view", "INSERT INTO v VALUES (-3)", false},
	{"insert into an odd name", `INSERT INTO "Odd ""one"."Table; it's" VALUES (1)`, false},
	{"write lock", "LOCK TABLE t IN ROW EXCLUSIVE MODE", false},
	{"trigger", "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fires()", false},
	{"nextval", "SELECT nextval('s')", false},
	{"setval", "SELECT setval('s', 1)", false},
	{"write a large object", "SELECT lo_put(4711, 0, 'x')", false},
	{"drop a large object", "SELECT lo_unlink(4711)", false},
	{"create in public", "CREATE TABLE public.x (a int)", false},
	{"create in a schema", `CREATE TABLE "Odd ""one".x (a int)`, false},
	{"create a schema", "CREATE SCHEMA x", false},
	{"create a publication", "CREATE PUBLICATION x", false},
	{"create a database", "CREATE DATABASE DATABASE_x", true},
	{"create a role", "CREATE ROLE DATABASE_x", false},
	{"alter", "ALTER TABLE t ADD x int", false},
	{"drop", "DROP TABLE t CASCADE", false},
	{"replace a function", "CREATE OR REPLACE FUNCTION definer() RETURNS void LANGUAGE sql AS 'SELECT'", false},
	{"grant", "GRANT SELECT ON t TO stranger; SELECT 1 / has_table_privilege('stranger', 't', 'SELECT')::int", false},
	{"grant a schema", "GRANT USAGE ON SCHEMA public TO stranger; SELECT 1 / has_schema_privilege('stranger', 'public', 'USAGE')::int", false},
	{"grant a membership", "GRANT DATABASE_group TO stranger", false},
	{"become the owner", "SET LOCAL ROLE owner; INSERT INTO t VALUES (-4)", false},
	{"become a group", "SET LOCAL ROLE DATABASE_group; INSERT INTO t VALUES (-5)", false},
	{"call a definer", "SELECT definer()", false},
	{"run a program", "COPY t FROM PROGRAM 'true'", false},
	{"run a program on rows", "COPY t TO PROGRAM 'cat >/dev/null'", false},
	{"read a server's file", "SELECT pg_read_file('PG_VERSION')", false},
	{"read a server's file by name", "SELECT pg_catalog.pg_read_file('PG_VERSION'::text, 0, 1)", false},
	{"write a server's file", "COPY t TO '/tmp/remora-doctor-test-DATABASE'", false},
	{"end a session", "SELECT 1 / pg_terminate_backend(pid)::int FROM pg_stat_activity WHERE usename = 'owner' AND datname = current_database()", false},
	{"alter the system", "ALTER SYSTEM SET deadlock_timeout = '1s'", true},
	{"set a superuser's parameter", "SET LOCAL session_replication_role = replica", false},
	{"use a foreign server", "CREATE USER MAPPING FOR CURRENT_USER SERVER far", false},
	{"lock what is to come", "INSERT INTO later DEFAULT VALUES", false},
	{"advance what is to come", "SELECT nextval('later_too')", false},
	{"prepare a write", "INSERT INTO t VALUES (-6); PREPARE TRANSACTION 'DATABASE'", true},
	{"make a foreign server", "CREATE SERVER x FOREIGN DATA WRAPPER far", false},
	{"call a definer behind a view", "SELECT * FROM behind", false},
	{"call a function of the catalog's", "SELECT added()", false},
	{"read a server's file by an alias", "SELECT peek('PG_VERSION')", false},
	{"export a large object", "SELECT lo_export(4711, '/tmp/remora-doctor-test-DATABASE')", false},
	{"connect as the server's own user", "SELECT trusted_connect('host=/nonexistent')", false},
	{"grant a function", "GRANT EXECUTE ON FUNCTION definer() TO stranger; SELECT 1 / has_function_privilege('stranger', 'definer()', 'EXECUTE')::int", false},
	{"grant a type", "GRANT USAGE ON TYPE shade TO stranger; SELECT 1 / has_type_privilege('stranger', 'shade', 'USAGE')::int", false},
	{"fire a definer by a trigger of its own", "CREATE TEMPORARY TABLE own (id int); CREATE TRIGGER x BEFORE INSERT ON own FOR EACH ROW EXECUTE FUNCTION logs(); INSERT INTO own VALUES (1)", false},
	{"grant a column", "GRANT SELECT (id) ON t TO stranger; SELECT 1 / has_column_privilege('stranger', 't', 'id', 'SELECT')::int", false},
	{"grant the reading of everything", "GRANT pg_read_all_data TO stranger", false},
	{"call a definer by an aggregate", "SELECT adding(id) FROM t", false},
	{"call a definer as a group", "SET LOCAL ROLE DATABASE_group; SELECT definer()", false},
	{"grant what is to come", "GRANT SELECT ON later TO stranger; SELECT 1 / has_table_privilege('stranger', 'later', 'SELECT')::int", false},
}

// inherent are what every login role may do by itself, whatever it was granted.
var inherent = []string{
	"CREATE TEMPORARY TABLE x (a int)", "SELECT lo_create(0)", "NOTIFY x", "SELECT pg_advisory_lock(1)",
	"ALTER ROLE CURRENT_USER SET work_mem = '5MB'", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO stranger",
}

// could tries everything and returns what succeeded.
func could(t *testing.T, p patient) (did []string) {
	t.Helper()
	c, _ := cluster()
	t.Cleanup(func() { _ = os.Remove("/tmp/remora-doctor-test-" + p.name) }) // what the server has written, where it may
	victim, err := pgx.Connect(t.Context(), c.URL("owner", "owner", p.name)) // to be ended
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close(context.Background())
	runOK(t, c.URL("owner", "owner", p.name), "CREATE TABLE later (id int)", "CREATE SEQUENCE later_too")
	conn := p.connect(t)
	for _, a := range attempts {
		sql := strings.ReplaceAll(a.sql, "DATABASE", p.name)
		if strings.HasPrefix(sql, "CREATE "+p.name) {
			sql = "CREATE DATABASE" + strings.TrimPrefix(sql, "CREATE "+p.name)
		}
		if !a.alone {
			sql = "BEGIN; " + sql + "; ROLLBACK"
		}
		_, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
		if err == nil {
			did = append(did, a.name)
		}
		if a.alone && err == nil {
			undo(t, p, a.name)
		}
		if _, err := conn.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Fatalf("after %s: %v", a.name, err)
		}
	}
	if far, err := pgx.Connect(t.Context(), c.URL(p.name, password, "postgres")); err == nil {
		defer far.Close(context.Background())
		if _, err := far.Exec(t.Context(), "INSERT INTO "+p.name+"_far VALUES (1)"); err == nil {
			did = append(did, "insert in another database")
		}
	}
	for _, sql := range inherent {
		if _, err := conn.PgConn().Exec(t.Context(), "BEGIN; "+sql+"; ROLLBACK").ReadAll(); err != nil && !strings.Contains(sql, "TEMPORARY") {
			t.Errorf("%s: %v", sql, err)
		}
		_, _ = conn.Exec(t.Context(), "ROLLBACK")
	}
	return did
}

func undo(t *testing.T, p patient, attempt string) {
	t.Helper()
	switch attempt {
	case "create a database":
		p.admin(t, "DROP DATABASE "+p.name+"_x")
	case "alter the system":
		p.admin(t, "ALTER SYSTEM RESET deadlock_timeout")
	case "prepare a write":
		p.admin(t, "ROLLBACK PREPARED '"+p.name+"'")
	}
}

// The matrix: every role is made by one change to one that has what a backup needs. The report names what was changed and
// nothing else; what the role then really can do, the report refuses or asks about; what it refuses, the role can do or
// nobody can try here; and pg_dump fails exactly where the report says so.
func TestMatrix(t *testing.T) {
	const logging = "owner: CREATE FUNCTION logs() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN INSERT INTO public.t VALUES (-8, ''logged''); RETURN NEW; END'"
	const adding = "owner: CREATE FUNCTION adds(int, int) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.t VALUES (-9) ON CONFLICT DO NOTHING; SELECT 1'; CREATE AGGREGATE adding(int) (SFUNC = adds, STYPE = int, INITCOND = 0)"
	t.Parallel()
	for name, c := range map[string]struct {
		change []string
		want   string // codes and severities
		strict bool   // refused although nothing of it can be tried here by itself
		since  int    // a major
	}{
		// What a backup needs, in all its forms.
		"as_told":              {nil, "", false, 0},
		"bypassrls":            {[]string{"ALTER ROLE $me BYPASSRLS"}, "bypassrls info", false, 0},
		"reads_all_data":       {[]string{"GRANT pg_read_all_data TO $me"}, "", false, 14},
		"reads_all_data_alone": {[]string{"owner: REVOKE ALL ON ALL TABLES IN SCHEMA public FROM $me", "owner: REVOKE ALL ON SCHEMA public FROM $me", "GRANT pg_read_all_data TO $me"}, "", false, 14},
		"monitors":             {[]string{"GRANT pg_monitor TO $me"}, "", false, 0},
		"no_temp":              {[]string{"REVOKE TEMP ON DATABASE $me FROM PUBLIC"}, "", false, 0},
		"view_revoked":         {[]string{"owner: REVOKE SELECT ON v, m FROM $me"}, "", false, 0},
		"foreign_revoked":      {[]string{"owner: REVOKE SELECT ON f FROM $me"}, "", false, 0},
		"statement_timeout":    {[]string{"ALTER ROLE $me SET statement_timeout = 1", "ALTER ROLE $me SET search_path = nowhere", "ALTER ROLE $me SET lock_timeout = 1"}, "", false, 0},
		// Powers.
		"superuser":         {[]string{"ALTER ROLE $me SUPERUSER"}, "role_attribute deny", false, 0},
		"createrole":        {[]string{"ALTER ROLE $me CREATEROLE"}, "role_attribute deny", false, 0},
		"createdb":          {[]string{"ALTER ROLE $me CREATEDB"}, "role_attribute deny", false, 0},
		"replication":       {[]string{"ALTER ROLE $me REPLICATION"}, "role_attribute deny", true, 0},
		"writes_all_data":   {[]string{"GRANT pg_write_all_data TO $me"}, "predefined_role deny", false, 14},
		"runs_programs":     {[]string{"GRANT pg_execute_server_program TO $me"}, "predefined_role deny", false, 0},
		"reads_files":       {[]string{"GRANT pg_read_server_files TO $me"}, "predefined_role deny", true, 0},
		"writes_files":      {[]string{"GRANT pg_write_server_files TO $me"}, "predefined_role deny", false, 0},
		"signals":           {[]string{"GRANT pg_signal_backend TO $me"}, "predefined_role deny", false, 0},
		"checkpoints":       {[]string{"GRANT pg_checkpoint TO $me"}, "predefined_role deny", true, 15},
		"maintains":         {[]string{"GRANT pg_maintain TO $me"}, "predefined_role deny", false, 17},
		"inserts":           {[]string{"owner: GRANT INSERT ON t TO $me"}, "table_write deny", false, 0},
		"updates":           {[]string{"owner: GRANT UPDATE ON t TO $me"}, "table_write deny", false, 0},
		"public_deletes":    {[]string{"owner: GRANT DELETE ON t TO PUBLIC"}, "table_write deny", false, 0},
		"truncates":         {[]string{"owner: GRANT TRUNCATE ON t TO $me"}, "table_write deny", false, 0},
		"references_t":      {[]string{"owner: GRANT REFERENCES ON t TO $me"}, "table_write deny", true, 0},
		"triggers":          {[]string{"owner: GRANT TRIGGER ON t TO $me"}, "table_write deny", false, 0},
		"vacuums":           {[]string{"owner: GRANT MAINTAIN ON t TO $me"}, "table_write deny", false, 17},
		"inserts_partition": {[]string{"owner: GRANT INSERT ON p1 TO $me"}, "table_write deny", false, 0},
		"inserts_view":      {[]string{"owner: GRANT INSERT ON v TO $me"}, "table_write deny", false, 0},
		"inserts_odd":       {[]string{`owner: GRANT INSERT ON "Odd ""one"."Table; it's" TO $me`}, "table_write deny", false, 0},
		"updates_column":    {[]string{"owner: GRANT UPDATE (id) ON t TO $me"}, "column_write deny", false, 0},
		"uses_sequence":     {[]string{"owner: GRANT USAGE ON SEQUENCE s TO $me"}, "sequence_write review", false, 0},
		"updates_sequence":  {[]string{"owner: GRANT UPDATE ON SEQUENCE s TO $me"}, "sequence_write deny", false, 0},
		"writes_large":      {[]string{"owner: GRANT UPDATE ON LARGE OBJECT 4711 TO $me"}, "large_object_write deny", false, 0},
		"large_compat":      {[]string{"ALTER DATABASE $me SET lo_compat_privileges = on"}, "large_object_write deny", false, 0},
		"creates":           {[]string{`owner: GRANT CREATE ON SCHEMA "Odd ""one" TO $me`}, "schema_create deny", false, 0},
		"creates_as_public": {[]string{"owner: GRANT CREATE ON SCHEMA public TO PUBLIC"}, "schema_create review", false, 0},
		"creates_schemas":   {[]string{"GRANT CREATE ON DATABASE $me TO $me"}, "database_create deny", false, 0},
		"grants_on":         {[]string{"owner: GRANT SELECT ON t TO $me WITH GRANT OPTION"}, "grant_option deny", false, 0},
		"grants_schema":     {[]string{"owner: GRANT USAGE ON SCHEMA public TO $me WITH GRANT OPTION"}, "grant_option deny", false, 0},
		"owns_table":        {[]string{"ALTER TABLE t OWNER TO $me"}, "owns_object deny", false, 0},
		"owns_function":     {[]string{"ALTER FUNCTION definer() OWNER TO $me", "GRANT CREATE ON SCHEMA public TO $me"}, "owns_object deny, schema_create deny", false, 0},
		"owns_large":        {[]string{"ALTER LARGE OBJECT 4711 OWNER TO $me"}, "owns_object deny", false, 0},
		"owns_database":     {[]string{"ALTER DATABASE $me OWNER TO $me"}, "owns_object deny, predefined_role deny", false, 14},
		"member_of_owner": {
			[]string{"ALTER ROLE $me NOINHERIT", "GRANT owner TO $me"},
			"foreign_data_wrapper deny, owns_object deny, predefined_role deny, role_attribute deny, member_of_role review, other_database review", false, 14,
		},
		"member_of_group":   {[]string{"CREATE ROLE $me_group", "GRANT $me_group TO $me", "owner: GRANT INSERT ON t TO $me_group"}, "table_write deny, member_of_role review", false, 0},
		"member_of_idle":    {[]string{"CREATE ROLE $me_idle", "GRANT $me_idle TO $me"}, "member_of_role review", false, 0},
		"admin_of_group":    {[]string{"CREATE ROLE $me_group", "GRANT $me_group TO $me WITH ADMIN OPTION"}, "admin_option deny, member_of_role review", false, 0},
		"later_inserts":     {[]string{"owner: ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO $me"}, "future_write deny", false, 0},
		"later_public":      {[]string{"owner: ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC"}, "future_write deny", false, 0},
		"later_sequences":   {[]string{"owner: ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO $me"}, "future_write review", false, 0},
		"calls_definer":     {[]string{"owner: GRANT EXECUTE ON FUNCTION definer() TO $me"}, "security_definer review", false, 0},
		"reads_a_file":      {[]string{"GRANT EXECUTE ON FUNCTION pg_read_file(text) TO $me"}, "restricted_function deny", false, 0},
		"foreign_server":    {[]string{"owner: GRANT USAGE ON FOREIGN SERVER far TO $me"}, "foreign_server review", false, 0},
		"is_another":        {[]string{"GRANT owner TO $me", "ALTER ROLE $me SET role = owner"}, "foreign_data_wrapper deny, owns_object deny, predefined_role deny, role_attribute deny, session_is_another_role deny, member_of_role review, other_database review", false, 14},
		"is_another_here":   {[]string{"GRANT owner TO $me", "ALTER ROLE $me IN DATABASE $me SET role = owner"}, "foreign_data_wrapper deny, owns_object deny, predefined_role deny, role_attribute deny, session_is_another_role deny, member_of_role review, other_database review", false, 14},
		"sets_parameter":    {[]string{"GRANT SET ON PARAMETER session_replication_role TO $me"}, "parameter deny", false, 15},
		"alters_system":     {[]string{"GRANT ALTER SYSTEM ON PARAMETER deadlock_timeout TO $me"}, "parameter deny", false, 15},
		"makes_servers":     {[]string{"GRANT USAGE ON FOREIGN DATA WRAPPER far TO $me"}, "foreign_data_wrapper deny", false, 0},
		"definer_behind":    {[]string{"owner: CREATE SCHEMA closed", "owner: CREATE FUNCTION closed.writes() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.t VALUES (-1); SELECT 1'", "owner: CREATE VIEW behind AS SELECT closed.writes()"}, "security_definer review", false, 0},
		"definer_catalog":   {[]string{"CREATE FUNCTION pg_catalog.added() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO public.t VALUES (-7)'"}, "security_definer review", false, 0},
		"untrusted":         {[]string{"CREATE FUNCTION peek(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'"}, "untrusted_function review", false, 0},
		"untrusted_revoked": {[]string{"CREATE FUNCTION peek(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'", "REVOKE EXECUTE ON FUNCTION peek(text) FROM PUBLIC"}, "", false, 0},
		"exports":           {[]string{"GRANT EXECUTE ON FUNCTION lo_export(oid, text) TO PUBLIC"}, "restricted_function review", false, 0},
		"monitors_files":    {[]string{"GRANT pg_monitor TO $me", "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO pg_monitor"}, "restricted_function deny", false, 0},
		"catalog_hardened":  {[]string{"REVOKE EXECUTE ON FUNCTION pg_sleep(float8) FROM PUBLIC", "GRANT EXECUTE ON FUNCTION pg_sleep(float8) TO $me"}, "", false, 0},
		"connects_as_server": {[]string{
			"CREATE EXTENSION dblink", "ALTER FUNCTION dblink_connect_u(text) RENAME TO trusted_connect", "GRANT EXECUTE ON FUNCTION trusted_connect(text) TO $me",
		}, "restricted_function review, security_definer review", false, 0},
		"definer_trigger":           {[]string{logging}, "security_definer review", false, 0},
		"definer_trigger_revoked":   {[]string{logging, "owner: REVOKE EXECUTE ON FUNCTION logs() FROM PUBLIC"}, "", false, 0},
		"definer_trigger_granted":   {[]string{logging, "owner: REVOKE EXECUTE ON FUNCTION logs() FROM PUBLIC", "owner: GRANT EXECUTE ON FUNCTION logs() TO $me"}, "security_definer review", false, 0},
		"definer_trigger_no_temp":   {[]string{logging, "REVOKE TEMP ON DATABASE $me FROM PUBLIC"}, "", false, 0},
		"definer_aggregate":         {[]string{adding, "owner: REVOKE EXECUTE ON FUNCTION adds(int, int) FROM PUBLIC"}, "security_definer review", false, 0},
		"aggregates":                {[]string{"owner: CREATE AGGREGATE widest(int) (SFUNC = int4larger, STYPE = int)"}, "", false, 0},
		"definer_aggregate_revoked": {[]string{adding, "owner: REVOKE EXECUTE ON FUNCTION adds(int, int), adding(int) FROM PUBLIC"}, "", false, 0},
		"definer_by_group":          {[]string{"CREATE ROLE $me_group", "ALTER ROLE $me NOINHERIT", "GRANT $me_group TO $me", "owner: GRANT EXECUTE ON FUNCTION definer() TO $me_group"}, "member_of_role review, security_definer review", false, 0},
		"grants_column":             {[]string{"owner: GRANT SELECT (id) ON t TO $me WITH GRANT OPTION"}, "grant_option deny", false, 0},
		"admin_of_readers":          {[]string{"GRANT pg_read_all_data TO $me WITH ADMIN OPTION"}, "admin_option deny", false, 14},
		"heroku_config":             {[]string{"CREATE TABLE heroku_ext.cfg (id int)", "ALTER EXTENSION citext ADD TABLE heroku_ext.cfg", "UPDATE pg_extension SET extconfig = ARRAY['heroku_ext.cfg'::regclass::oid], extcondition = ARRAY[''] WHERE extname = 'citext'"}, "", false, 0},
		"grants_function":           {[]string{"owner: GRANT EXECUTE ON FUNCTION definer() TO $me WITH GRANT OPTION"}, "grant_option deny, security_definer review", false, 0},
		"grants_type":               {[]string{"owner: CREATE TYPE shade AS ENUM ('a')", "owner: REVOKE USAGE ON TYPE shade FROM PUBLIC", "owner: GRANT USAGE ON TYPE shade TO $me WITH GRANT OPTION"}, "grant_option deny", false, 0},
		"later_grants":              {[]string{"owner: ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO $me WITH GRANT OPTION"}, "future_write deny", false, 0},
		"writes_elsewhere":          {[]string{"elsewhere: CREATE TABLE $me_far (id int)", "elsewhere: GRANT INSERT ON $me_far TO $me", "GRANT CONNECT ON DATABASE postgres TO $me"}, "other_database review", false, 0},
		// Gaps.
		"no_table":             {[]string{"owner: REVOKE SELECT ON t FROM $me"}, "table_select fatal", false, 0},
		"columns_only":         {[]string{"owner: REVOKE SELECT ON t FROM $me", "owner: GRANT SELECT (id, secret) ON t TO $me"}, "table_select fatal", false, 0},
		"no_partition":         {[]string{"owner: REVOKE SELECT ON p1 FROM $me"}, "table_select fatal", false, 0},
		"no_parent":            {[]string{"owner: REVOKE SELECT ON p FROM $me"}, "table_select fatal", false, 0},
		"no_sequence":          {[]string{"owner: REVOKE SELECT ON SEQUENCE s FROM $me"}, "sequence_select fatal", false, 0},
		"usage_no_sequence":    {[]string{"owner: REVOKE SELECT ON SEQUENCE s FROM $me", "owner: GRANT USAGE ON SEQUENCE s TO $me"}, "sequence_write review, sequence_select fatal", false, 0},
		"no_schema":            {[]string{`owner: REVOKE USAGE ON SCHEMA "Odd ""one" FROM $me`}, "schema_usage fatal", false, 0},
		"no_odd_table":         {[]string{`owner: REVOKE SELECT ON "Odd ""one"."Table; it's" FROM $me`}, "table_select fatal", false, 0},
		"empty_schema":         {[]string{"owner: CREATE SCHEMA closed"}, "", false, 0},
		"functions_schema":     {[]string{"owner: CREATE SCHEMA closed", "owner: CREATE FUNCTION closed.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "owner: CREATE TYPE closed.e AS ENUM ('a')"}, "", false, 0},
		"new_schema":           {[]string{"owner: CREATE SCHEMA new", "owner: CREATE TABLE new.t (id serial)"}, "schema_usage fatal, sequence_select fatal, table_select fatal, no_default_select future, no_default_sequence_select future", false, 0},
		"unnamed_large":        {[]string{"owner: SELECT lo_from_bytea(4712, 'x')"}, "large_object_select fatal", false, 0},
		"many_large":           {[]string{"owner: SELECT lo_from_bytea(0, 'x') FROM generate_series(1, 30)"}, "large_object_select fatal", false, 0},
		"large_read_all":       {[]string{"owner: REVOKE SELECT ON LARGE OBJECT 4711 FROM $me", "GRANT pg_read_all_data TO $me"}, "large_object_select fatal", false, 14},
		"large_no_functions":   {[]string{"REVOKE EXECUTE ON FUNCTION lo_open(oid, int), loread(int, int) FROM PUBLIC"}, "function_execute fatal", false, 0},
		"no_large_functions":   {[]string{"owner: SELECT lo_unlink(4711)", "REVOKE EXECUTE ON FUNCTION lo_open(oid, int) FROM PUBLIC"}, "", false, 0},
		"rls_no_policy":        {[]string{"owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY"}, "row_security fatal", false, 0},
		"rls_some":             {[]string{"owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY hides ON t USING (id % 100 = 0)"}, "row_security fatal", false, 0},
		"rls_open":             {[]string{"owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY remora_read ON t FOR SELECT TO $me USING (true)"}, "row_security_open info", false, 0},
		"rls_open_public":      {[]string{"owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY everybody ON t USING (true)"}, "row_security_open info", false, 0},
		"rls_open_others":      {[]string{"owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY others ON t TO stranger USING (true)"}, "row_security fatal", false, 0},
		"rls_open_write":       {[]string{"owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY del ON t FOR DELETE USING (true)"}, "row_security fatal", false, 0},
		"rls_restricted":       {[]string{"owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY remora_read ON t FOR SELECT TO $me USING (true)", "owner: CREATE POLICY not_all ON t AS RESTRICTIVE USING (id % 100 = 0)"}, "row_security fatal", false, 0},
		"rls_restricts_others": {[]string{"owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY remora_read ON t FOR SELECT TO $me USING (true)", "owner: CREATE POLICY not_all ON t AS RESTRICTIVE TO stranger USING (false)"}, "row_security_open info", false, 0},
		"rls_one_of_two":       {[]string{"owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY remora_read ON t FOR SELECT TO $me USING (true)", "owner: ALTER TABLE p1 ENABLE ROW LEVEL SECURITY"}, "row_security fatal, row_security_open info", false, 0},
		"rls_parent":           {[]string{"owner: ALTER TABLE p ENABLE ROW LEVEL SECURITY"}, "", false, 0},
		"rls_partition":        {[]string{"owner: ALTER TABLE p1 ENABLE ROW LEVEL SECURITY"}, "row_security fatal", false, 0},
		"rls_bypassed":         {[]string{"owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "ALTER ROLE $me BYPASSRLS"}, "bypassrls info", false, 0},
		"no_defaults":          {[]string{"owner: ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM $me"}, "no_default_select future", false, 0},
		"subscription":         {[]string{"CREATE SUBSCRIPTION $me_sub CONNECTION 'host=nowhere' PUBLICATION x WITH (connect = false, slot_name = NONE)"}, "subscription partial", false, 0},
		"config_table":         {[]string{"CREATE TABLE cfg (id int)", "ALTER EXTENSION citext ADD TABLE cfg", "UPDATE pg_extension SET extconfig = ARRAY['cfg'::regclass::oid], extcondition = ARRAY[''] WHERE extname = 'citext'"}, "table_select fatal", false, 0},
		"extension_table":      {[]string{"CREATE TABLE member (id int)", "ALTER EXTENSION citext ADD TABLE member"}, "", false, 0},
		"extension_identity":   {[]string{"CREATE TABLE member (id int GENERATED ALWAYS AS IDENTITY)", "ALTER EXTENSION citext ADD TABLE member"}, "", false, 0},
		"extension_serial":     {[]string{"CREATE TABLE member (id serial)", "ALTER EXTENSION citext ADD TABLE member"}, "sequence_select fatal", false, 0},
		"config_sequence":      {[]string{"CREATE SEQUENCE cfg", "ALTER EXTENSION citext ADD SEQUENCE cfg", "UPDATE pg_extension SET extconfig = ARRAY['cfg'::regclass::oid], extcondition = ARRAY[''] WHERE extname = 'citext'"}, "sequence_select fatal", false, 0},
		"view_schema":          {[]string{"owner: CREATE SCHEMA closed", "owner: CREATE VIEW closed.v AS SELECT 1 AS a", "owner: CREATE MATERIALIZED VIEW closed.m AS SELECT 1 AS a", "owner: CREATE TYPE closed.c AS (a int)", "owner: CREATE FOREIGN TABLE closed.f (line text) SERVER far"}, "", false, 0},
		"odd_types":            {[]string{"owner: CREATE SCHEMA closed", "owner: CREATE DOMAIN closed.d AS int CHECK (VALUE > 0)", "owner: CREATE TABLE typed (a closed.d, b closed.d[])", "owner: INSERT INTO typed VALUES (1, '{2}')", "owner: REVOKE USAGE ON TYPE closed.d FROM PUBLIC"}, "", false, 0},
		"rls_inherited":        {[]string{"owner: CREATE TABLE child () INHERITS (t)", "owner: ALTER TABLE t ENABLE ROW LEVEL SECURITY", "owner: CREATE POLICY remora_read ON t FOR SELECT TO $me USING (true)", "owner: CREATE POLICY hides ON t USING (id % 100 = 0)", "owner: INSERT INTO child VALUES (1)"}, "row_security_open info", false, 0},
		"unlogged":             {[]string{"owner: CREATE UNLOGGED TABLE u (id int GENERATED ALWAYS AS IDENTITY)"}, "", false, 0},
		"heroku_sequence":      {[]string{"CREATE TABLE _heroku.closed (id serial)"}, "", false, 0},
		"heroku_table":         {[]string{"GRANT USAGE ON SCHEMA heroku_ext TO $me", "CREATE TABLE _heroku.closed (id int)"}, "", false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if client(t).Major < c.since { // the server's own
				return
			}
			p := admit(t, "m_"+name, c.change...)
			s := p.open(t)
			a := s.audit
			got := codes(a)
			if got != c.want {
				t.Errorf("got  %s\nwant %s\n%+v", got, c.want, a.Findings)
			}
			for _, f := range a.Findings {
				if f.Object == "" || f.Detail == "" || f.Severity == remora.SeverityFatal && f.Fix == "" && !strings.Contains(f.Detail, "RESTRICTIVE") {
					t.Errorf("%+v", f)
				}
			}
			refused := len(a.Having(remora.SeverityFatal)) > 0
			err := p.dump(t, s)
			if refused != (err != nil) {
				t.Errorf("fatal: %v, and pg_dump: %v", refused, err)
			}
			if f := a.Refusal(); refused && len(a.Having(remora.SeverityDeny)) == 0 {
				var failed *remora.Failure
				if !errors.As(err, &failed) || failed.Reason != f.Reason && !strings.Contains(got, ", ") {
					t.Errorf("refused for %s, and pg_dump said %v", f.Reason, err)
				}
			}
			did := could(t, p)
			deny, review := len(a.Having(remora.SeverityDeny)) > 0, len(a.Having(remora.SeverityReview)) > 0
			if len(did) > 0 && !deny && !review {
				t.Errorf("it was not asked about, and could: %v", did)
			}
			if deny && !c.strict && len(did) == 0 {
				t.Error("it was refused, and could nothing")
			}
			if c.strict && len(did) > 0 {
				t.Errorf("it is said that nothing can be tried, and could: %v", did)
			}
			p.cured(t, s, c.change)
		})
	}
}

// cured pastes what the report says, as a superuser, and looks again.
func (p patient) cured(t *testing.T, s seen, change []string) {
	t.Helper()
	before := s.audit
	s.Close()
	var fixes []string
	for _, f := range before.Findings {
		if f.Fix != "" && !slices.Contains(fixes, f.Fix) {
			fixes = append(fixes, f.Fix)
		}
	}
	p.admin(t, fixes...)
	if strings.Contains(strings.Join(change, " "), "TO PUBLIC") && len(fixes) > 0 {
		fixes = append(fixes, "for everybody")
	}
	for _, f := range p.open(t).audit.Findings {
		for _, was := range before.Findings {
			if was.Code == f.Code && was.Object == f.Object && was.Fix != "" && f.Severity == was.Severity {
				t.Errorf("%s of %s is still there after %v", f.Code, f.Object, fixes)
			}
		}
	}
}

// A role's own settings and the server's version are read, and a follower says that it is one.
func TestFollower(t *testing.T) {
	t.Parallel()
	leader, err := localpg.Start(t.Context(), localpg.Config{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer leader.Stop()
	runOK(t, leader.SuperuserURL("postgres"), "CREATE ROLE reader LOGIN PASSWORD '"+password+"'", "CREATE UNLOGGED TABLE u (id int GENERATED ALWAYS AS IDENTITY)",
		"INSERT INTO u DEFAULT VALUES", "CREATE TABLE t AS SELECT 1 AS id", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader")
	follower, err := leader.Follower(t.Context(), localpg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Stop()
	p := patient{"postgres", admitTo(follower, "reader", "postgres")}
	s := p.open(t)
	if !s.Server().Standby || s.audit.LeftOut() == "" || s.audit.Refusal() != nil {
		t.Fatalf("%+v %+v", s.Server(), s.audit)
	}
	if err := p.dump(t, s); err != nil {
		t.Error(err)
	}
	if w, err := s.Witness(t.Context()); err != nil || w.Testimony() != remora.TestimonyFollower {
		t.Errorf("%+v %v", w, err)
	}
	s = p.open(t)
	if err := follower.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w, err := s.Witness(t.Context()); err != nil || w.Testimony() == remora.TestimonyFollower {
		t.Errorf("promoted meanwhile, and so one that takes writes: %+v %v", w, err)
	}
}

// A report lists so many of one code and says that there are more; what refuses comes before what asks.
func TestALongReport(t *testing.T) {
	t.Parallel()
	p := admit(t, "long_report", "owner: DO 'BEGIN FOR n IN 1..120 LOOP EXECUTE format(''CREATE SEQUENCE a%s; GRANT USAGE ON SEQUENCE a%s TO long_report'', n, n); END LOOP; END'",
		"owner: CREATE SEQUENCE z", "owner: GRANT UPDATE ON SEQUENCE z TO $me")
	s := p.open(t)
	n, deny := 0, false
	for _, f := range s.audit.Findings {
		if f.Code == "sequence_write" {
			n++
			deny = deny || f.Object == "public.z" && f.Severity == remora.SeverityDeny
		}
	}
	if n != 100 || !deny || !s.audit.More {
		t.Errorf("%d findings, more: %t, with what refuses: %t", n, s.audit.More, deny)
	}
	short := admit(t, "short_report").open(t).audit
	if short.More {
		t.Error("a short report says that there is more")
	}
	every := short.Having(remora.SeverityInherent)
	for _, f := range every { // an app may be called as its database is
		if f.Object != "short_report in database short_report" {
			t.Errorf("%+v", f)
		}
	}
	if len(every) < 2 {
		t.Errorf("%+v", every)
	}
}
