package pgdump

import (
	"regexp"
	"slices"
	"strings"

	"github.com/remora-backup/remora/internal/remora"
)

// symptoms are the words of libpq, the server and pg_dump, in the C locale, and what they mean. The first
// that matches decides, so what is more particular comes first.
// (pg_dump waits for locks under a statement timeout and switches it off for everything else.)
var symptoms = []struct {
	reason remora.Reason
	words  []string
}{
	{remora.ReasonRowSecurity, []string{"row-level security policy"}},
	{remora.ReasonLargeObject, []string{"permission denied for large object"}},
	{remora.ReasonVersionMismatch, []string{"server version mismatch"}},
	{remora.ReasonLockTimeout, []string{"canceling statement due to statement timeout", "canceling statement due to lock timeout", "could not obtain lock"}},
	{remora.ReasonRecoveryConflict, []string{"conflict with recovery"}},
	{remora.ReasonTooManyConnections, []string{"too many connections", "too many clients", "remaining connection slots"}},
	{remora.ReasonTLSRequired, []string{"does not support SSL"}},
	{remora.ReasonCertificate, []string{"certificate verify failed", "does not match host name"}},
	{remora.ReasonWeakLogin, []string{"channel binding required", "channel binding is required", "authentication method requirement"}},
	{remora.ReasonLoginRefused, []string{
		"password authentication failed", "SCRAM channel binding check failed", "no password supplied", "is not permitted to log in", "no pg_hba.conf entry",
		"pg_hba.conf rejects", "authentication method", "permission denied for database",
	}},
	{remora.ReasonPermission, []string{"permission denied for", "user may lack SELECT privilege on the sequence"}}, // the latter from 18 on
	{remora.ReasonConnectionLost, []string{
		"terminating connection", "server closed the connection", "connection to server was lost", "SSL SYSCALL error",
		"SSL error", "SSL connection has been closed", "could not receive data from server", "could not send data to server",
		"Connection reset by peer", "connection not open", "no connection to the server", "canceling statement due to user request",
	}},
	{remora.ReasonUnreachable, []string{
		"Connection refused", "timeout expired", "No route to host", "Network is unreachable", "Connection timed out",
		"could not translate host name", "the database system is starting up", "the database system is shutting down",
		"the database system is in recovery mode", "not yet accepting connections",
	}},
	{remora.ReasonSchemaChanged, []string{"could not open relation with OID", "cache lookup failed"}},
}

var (
	missingDatabase = regexp.MustCompile(`database ".*" does not exist`)
	missingRole     = regexp.MustCompile(`role ".*" does not exist`)
	missingRelation = regexp.MustCompile(`(relation|schema|function|type) .* does not exist`)
)

// Classify names the reason for a pg_dump that failed, from what it said.
func Classify(said string) remora.Reason {
	if exhausted.MatchString(said) {
		return remora.ReasonMoreMemory
	}
	for _, s := range symptoms {
		if slices.ContainsFunc(s.words, func(w string) bool { return strings.Contains(said, w) }) {
			return s.reason
		}
	}
	switch {
	case missingDatabase.MatchString(said):
		return remora.ReasonDatabaseMissing
	case missingRole.MatchString(said):
		return remora.ReasonLoginRefused
	case missingRelation.MatchString(said):
		return remora.ReasonSchemaChanged
	}
	return remora.ReasonDumpFailed
}

// explained are the warnings that a pg_dump which ended well may give without anything being missing from
// the archive. Circular foreign keys matter to data-only restores. A server whose C library or ICU was
// upgraded tells every client about its collations: that is about the order in indexes, and pg_dump reads
// tables whole.
var explained = []*regexp.Regexp{
	regexp.MustCompile(`^pg_dump: warning: there are circular foreign-key constraints `),
	regexp.MustCompile(`^WARNING:  database ".*" has (a collation version mismatch|no actual collation version, but a version was recorded)$`),
}

// belongs matches the lines that go with the message before them.
var belongs = regexp.MustCompile(`^(pg_dump: (detail|hint): |DETAIL:  |HINT:  |\s)`)

// Unexplained returns the lines of a pg_dump that ended well which may mean that something is missing, each
// with the details and hints that go with it.
func Unexplained(said string) []string {
	var out []string
	known := false
	for line := range strings.SplitSeq(said, "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			continue
		case !belongs.MatchString(line):
			known = slices.ContainsFunc(explained, func(r *regexp.Regexp) bool { return r.MatchString(line) })
		}
		if !known {
			out = append(out, line)
		}
	}
	return out
}

// The server writes names without quotes here, so a name goes to the end of the line.
var (
	deniedSchema = regexp.MustCompile(`(?m)permission denied for schema (.+)$`)
	deniedObject = regexp.MustCompile(`(?m)permission denied for (?:table|sequence|view|materialized view|foreign table) (.+)$`)
	deniedLarge  = regexp.MustCompile(`permission denied for large object \d+`)
)

// Fix returns the SQL that gives role what pg_dump said is missing, to be run as the database's owner, or ""
// where it cannot be told. It covers the whole schema, or all large objects, since pg_dump stops at the first
// thing that it may not read.
func Fix(said, role string) string {
	r := quoteIdent(role)
	if deniedLarge.MatchString(said) {
		return "DO " + quoteLiteral("DECLARE l oid; BEGIN FOR l IN SELECT oid FROM pg_largeobject_metadata LOOP "+
			"EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %I', l, "+quoteLiteral(role)+"); END LOOP; END") + ";"
	}
	var schemas []string
	if m := deniedSchema.FindStringSubmatch(said); m != nil {
		schemas = []string{m[1]}
	} else if m := deniedObject.FindStringSubmatch(said); m != nil {
		schemas = schemasOf(said, m[1])
	}
	var b strings.Builder
	for _, schema := range schemas {
		s := quoteIdent(schema)
		b.WriteString("GRANT USAGE ON SCHEMA " + s + " TO " + r + ";\n" +
			"GRANT SELECT ON ALL TABLES IN SCHEMA " + s + " TO " + r + ";\n" +
			"GRANT SELECT ON ALL SEQUENCES IN SCHEMA " + s + " TO " + r + ";\n" +
			"ALTER DEFAULT PRIVILEGES IN SCHEMA " + s + " GRANT SELECT ON TABLES TO " + r + ";\n" +
			"ALTER DEFAULT PRIVILEGES IN SCHEMA " + s + " GRANT SELECT ON SEQUENCES TO " + r + ";\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

// schemasOf finds the schemas that the object can be in, in the statement that pg_dump quotes after an error,
// where every name is written "schema"."object" (or bare, where it needs no quotes). From 16 on pg_dump locks
// many tables in one statement, and several schemas may have one of that name: the server does not say which.
func schemasOf(said, object string) []string {
	quoted := regexp.QuoteMeta(strings.ReplaceAll(object, `"`, `""`))
	name := regexp.MustCompile(`("(?:[^"]|"")+"|\b[a-z_][a-z0-9_$]*)\.(?:"` + quoted + `"|` + regexp.QuoteMeta(object) + `(?:[\s,;]|$))`)
	var schemas []string
	for _, m := range name.FindAllStringSubmatch(said, -1) {
		s := m[1]
		if strings.HasPrefix(s, `"`) {
			s = strings.ReplaceAll(s[1:len(s)-1], `""`, `"`)
		}
		if s != "pg_catalog" && !slices.Contains(schemas, s) { // nobody is to be given all of that, where passwords are
			schemas = append(schemas, s)
		}
	}
	return schemas
}

func quoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

func quoteLiteral(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }
