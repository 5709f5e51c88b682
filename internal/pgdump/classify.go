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
	{remora.ReasonLoginRefused, []string{
		"password authentication failed", "no password supplied", "is not permitted to log in", "no pg_hba.conf entry",
		"pg_hba.conf rejects", "authentication method", "permission denied for database",
	}},
	{remora.ReasonPermission, []string{"permission denied for"}},
	{remora.ReasonConnectionLost, []string{
		"terminating connection", "server closed the connection", "connection to server was lost", "SSL SYSCALL error",
		"SSL error", "SSL connection has been closed", "could not receive data from server", "could not send data to server",
		"Connection reset by peer", "connection not open", "no connection to the server",
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

// explained are lines that a pg_dump which ended well may say without anything being missing: circular
// foreign keys matter to data-only restores, and an unlogged table's rows are there on a leader.
var explained = []*regexp.Regexp{
	regexp.MustCompile(`^pg_dump: warning: there are circular foreign-key constraints`),
	regexp.MustCompile(`^pg_dump: (detail: |hint: )`),
	regexp.MustCompile(`^pg_dump: warning: (could not find where to insert IF EXISTS)`),
	regexp.MustCompile(`^\s*$`),
}

// Unexplained returns the lines of a pg_dump that ended well which may mean that something is missing.
func Unexplained(said string) []string {
	var out []string
	for line := range strings.SplitSeq(said, "\n") {
		if !slices.ContainsFunc(explained, func(r *regexp.Regexp) bool { return r.MatchString(line) }) {
			out = append(out, line)
		}
	}
	return out
}

var (
	deniedSchema = regexp.MustCompile(`permission denied for schema (\S+)`)
	deniedObject = regexp.MustCompile(`permission denied for (?:table|sequence|view|materialized view) (\S+)`)
	deniedLarge  = regexp.MustCompile(`permission denied for large object (\d+)`)
)

// Fix returns the SQL that gives role what pg_dump said is missing, to be run as the database's owner, or ""
// where it cannot be told.
func Fix(said, role string) string {
	r := quoteIdent(role)
	if m := deniedLarge.FindStringSubmatch(said); m != nil {
		return "GRANT SELECT ON LARGE OBJECT " + m[1] + " TO " + r + ";"
	}
	schema := ""
	if m := deniedSchema.FindStringSubmatch(said); m != nil {
		schema = strings.Trim(m[1], `"`)
	} else if m := deniedObject.FindStringSubmatch(said); m != nil {
		schema = schemaOf(said, strings.Trim(m[1], `"`))
	}
	if schema == "" {
		return ""
	}
	s := quoteIdent(schema)
	return "GRANT USAGE ON SCHEMA " + s + " TO " + r + ";\n" +
		"GRANT SELECT ON ALL TABLES IN SCHEMA " + s + " TO " + r + ";\n" +
		"GRANT SELECT ON ALL SEQUENCES IN SCHEMA " + s + " TO " + r + ";\n" +
		"ALTER DEFAULT PRIVILEGES IN SCHEMA " + s + " GRANT SELECT ON TABLES TO " + r + ";\n" +
		"ALTER DEFAULT PRIVILEGES IN SCHEMA " + s + " GRANT SELECT ON SEQUENCES TO " + r + ";"
}

// schemaOf finds the schema of an object in the statement that pg_dump quotes after an error, where every
// name is written "schema"."object" (or bare, where it needs no quotes).
func schemaOf(said, object string) string {
	name := regexp.MustCompile(`("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)\.(?:"` + regexp.QuoteMeta(strings.ReplaceAll(object, `"`, `""`)) + `"|` + regexp.QuoteMeta(object) + `\b)`)
	m := name.FindStringSubmatch(said)
	if m == nil {
		return ""
	}
	return strings.ReplaceAll(strings.Trim(m[1], `"`), `""`, `"`)
}

func quoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
