package herokusim

import "fmt"

// OwnObjects are the statements by which a superuser gives a database what Heroku has in every one of its own: a
// superuser's role, two schemas that no dump can need, five event triggers, and a schema public that a new credential
// has no access to until it is granted.
// (names as in real dumps of 2026; see docs/permissions.md)
func OwnObjects(owner string) []string {
	all := []string{
		`DO 'BEGIN CREATE ROLE heroku_admin SUPERUSER; EXCEPTION WHEN duplicate_object OR unique_violation THEN END'`,
		`CREATE SCHEMA _heroku AUTHORIZATION heroku_admin`, `GRANT USAGE ON SCHEMA _heroku TO PUBLIC`,
		`CREATE SCHEMA heroku_ext AUTHORIZATION heroku_admin`, `CREATE TABLE heroku_ext.closed (id int)`, `CREATE SEQUENCE heroku_ext.closed_too`,
	}
	for _, t := range []struct{ name, event, tags, function string }{
		{"00_validate_before_start", "ddl_command_start", "", "validate_before_start"},
		{"00_validate_extension_after", "ddl_command_end", "'CREATE EXTENSION'", "validate_extension"},
		{"01_configure_extension_after", "ddl_command_end", "'CREATE EXTENSION'", "create_ext"},
		{"01_configure_extension_drop", "sql_drop", "'DROP EXTENSION'", "drop_ext"},
		{"01_extension_before_drop", "ddl_command_start", "'DROP EXTENSION'", "extension_before_drop"},
	} {
		when := ""
		if t.tags != "" {
			when = "WHEN TAG IN (" + t.tags + ") "
		}
		all = append(
			all,
			fmt.Sprintf(`CREATE FUNCTION _heroku.%s() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END'`, t.function),
			fmt.Sprintf(`ALTER FUNCTION _heroku.%s() OWNER TO heroku_admin`, t.function),
			fmt.Sprintf(`REVOKE EXECUTE ON FUNCTION _heroku.%s() FROM PUBLIC`, t.function),
			fmt.Sprintf(`CREATE EVENT TRIGGER %q ON %s %sEXECUTE FUNCTION _heroku.%s()`, t.name, t.event, when, t.function),
			fmt.Sprintf(`ALTER EVENT TRIGGER %q OWNER TO heroku_admin`, t.name),
		)
	}
	return append(
		all,
		`COMMENT ON EVENT TRIGGER "00_validate_before_start" IS 'Heroku''s own'`,
		`REVOKE ALL ON SCHEMA public FROM PUBLIC`, `ALTER SCHEMA public OWNER TO `+owner,
	)
}
