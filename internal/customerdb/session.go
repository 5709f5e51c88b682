package customerdb

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/remora-backup/remora/internal/remora"
)

// Server is what a server says of itself.
type Server struct {
	Major   int
	Version string // such as 15.18
	Standby bool
	Key     remora.ServerKey // of its certificate, where no authority vouches for it

	// Known once Measure or Ask has returned without an error.

	Size int64 // of the database, in bytes
	// How many columns (of everything that has some) and comments there are, as the server's statistics have it: 0 where
	// it has not looked yet.
	Columns, Comments int64
}

// Session is one connection of the credential's, and one read-only transaction on it whose snapshot pg_dump can read
// too. Everything but Server and Close is for one goroutine at a time.
type Session struct {
	conn     *pgx.Conn
	target   Target
	may      *ration
	server   Server
	snapshot string
	audit    remora.Audit
	alike    map[string]int // findings, by code
	standing bool           // the transaction is open
	measured bool           // the server has said how large the database is
}

//go:embed audit.sql
var auditSQL string

// parts are the statements of audit.sql by name, without its comments, which a server has no use for. Open and Ask each send one
// message of them, so that neither waits for an answer twice.
var parts = split(auditSQL)

func split(all string) map[string]string {
	all = regexp.MustCompile(`(?m)^\s+|(^|\s)--( .*)?$`).ReplaceAllStringFunc(all, func(s string) string {
		if strings.HasPrefix(s, "-- name: ") {
			return s
		}
		return ""
	})
	out := map[string]string{}
	for _, part := range strings.Split(all, "-- name: ")[1:] {
		name, sql, _ := strings.Cut(part, "\n")
		out[name] = strings.TrimSpace(strings.ReplaceAll(sql, "\n\n", "\n"))
	}
	return out
}

// Open connects, begins the transaction, exports its snapshot and hears who the server is: all that a tiny database costs
// before pg_dump begins is one connection, and one question on it. It takes 10 s to connect at most, and as long for the rest.
// The caller must Close the session. Errors are *remora.Failure and never hold the password.
func Open(ctx context.Context, t Target) (*Session, error) {
	may := &ration{}
	cfg, err := config(t, may)
	if err != nil {
		return nil, err
	}
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	key := remora.ServerKey{At: net.JoinHostPort(t.Credential.Host, strconv.Itoa(int(t.Credential.Port)))}
	if !t.Credential.Verify {
		cfg.TLSConfig.VerifyConnection = func(c tls.ConnectionState) error {
			sum := sha256.Sum256(c.PeerCertificates[0].RawSubjectPublicKeyInfo) // a client always gets one
			key.SHA256 = sum[:]
			return nil
		}
	}
	s := &Session{target: t, may: may, alike: map[string]int{}, standing: true}
	if s.conn, err = pgx.ConnectConfig(connecting, cfg); err != nil {
		f := s.failure(err)
		if f.Reason == remora.ReasonPermission { // it may not connect to the database
			f.Reason = remora.ReasonLoginRefused
		}
		return nil, f
	}
	s.server.Key = key
	asking, cancel := context.WithTimeout(ctx, shortTimeout)
	defer cancel()
	if err := s.ask(asking, s.read, "begin", "server"); err != nil {
		defer s.Close()
		return nil, s.mended(asking, err)
	}
	if s.server.Major == 0 || s.snapshot == "" || s.audit.Witness.Before == 0 {
		s.Close()
		return nil, &remora.Failure{Reason: remora.ReasonDumpFailed, Cause: errors.New("the server did not say who it is")}
	}
	s.audit.Witness.Standby = s.server.Standby
	return s, nil
}

// Measure asks how large the database is. It must come before Ask, which else asks that as well. Errors are *remora.Failure.
func (s *Session) Measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shortTimeout)
	defer cancel()
	return s.mended(ctx, s.ask(ctx, s.read, "size"))
}

// Ask asks what the credential may do, in the snapshot: in one message, and for at most 65 s. It must come before
// Release, once. Errors are *remora.Failure.
func (s *Session) Ask(ctx context.Context) (remora.Audit, error) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	ask := []string{"catalogs"} // before what reads them
	if !s.measured {
		ask = append(ask, "size")
	}
	ask = append(ask, "write_powers", "read_gaps")
	if s.server.Major >= 15 {
		ask = append(ask, "parameter_powers")
	}
	err := s.ask(ctx, s.read, ask...)
	var f *remora.Failure
	if errors.As(err, &f) && f.Reason == remora.ReasonPermission && s.closed() {
		return s.audit, nil // that is why there is no more of the report; it can be asked for when this has been mended
	}
	if err == nil && !s.measured {
		err = &remora.Failure{Reason: remora.ReasonDumpFailed, Cause: errors.New("the server did not say how large the database is")}
	}
	return s.audit, err
}

// closed tells whether a catalog is kept from the credential, and it is refused for that.
func (s *Session) closed() bool {
	return slices.ContainsFunc(s.audit.Having(remora.SeverityFatal), func(f remora.Finding) bool { return f.Code == "catalog_select" })
}

// mended is a failure with what mends it, where that is a catalog which is kept from the credential: the server is asked again, in
// no transaction, which catalogs those are.
func (s *Session) mended(ctx context.Context, err error) error {
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonPermission {
		return err
	}
	if _, err := s.conn.Exec(ctx, "ROLLBACK"); err != nil {
		return f
	}
	if s.ask(ctx, s.read, "catalogs") == nil && s.audit.Refusal() != nil {
		return s.audit.Refusal()
	}
	return f
}

// Server is what the server said of itself.
func (s *Session) Server() Server { return s.server }

// Alive tells whether the session can be asked again: an error of a statement leaves it so, one of the connection does not.
func (s *Session) Alive() bool { return !s.conn.IsClosed() }

// Snapshot is for pg_dump --snapshot, until Release.
func (s *Session) Snapshot() string { return s.snapshot }

// Before is the server's number as the snapshot has it, for the witness.
func (s *Session) Before() remora.Witness { return s.audit.Witness }

// queryCanceled is what the server answers where a statement takes longer than it may.
const queryCanceled = "57014"

// Inventory lists what objects there are in the snapshot, and takes so long at most: meanwhile nobody looks whom the dump keeps
// waiting. It must come before Release. Where the time is over it returns nil without an error, and the session goes on.
func (s *Session) Inventory(ctx context.Context, most time.Duration) (remora.Inventory, error) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	var all remora.Inventory
	err := s.aside(ctx, most, func() (err error) {
		all, err = inventory(ctx, s.conn)
		return err
	})
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg) && pg.Code == queryCanceled:
		return nil, nil
	case err != nil:
		return nil, s.failure(err)
	}
	return all, nil
}

// aside does what leaves no trace in the transaction, even where it fails, for so long a statement at most: pg_dump may not have the
// snapshot yet.
func (s *Session) aside(ctx context.Context, most time.Duration, do func() error) error {
	_, err := s.conn.Exec(ctx, fmt.Sprintf("SAVEPOINT aside; SET LOCAL statement_timeout = %d", most.Milliseconds()))
	if err == nil {
		err = do()
	}
	if s.Alive() { // with it go the settings
		if _, back := s.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT aside; RELEASE SAVEPOINT aside"); err == nil {
			err = back
		}
	}
	return err
}

// Inventory lists what objects the database of a connection has: for a copy to be held against the original's. It works
// in the connection's transaction where it is in one, whose search path it sets, and needs a role of no rights.
func Inventory(ctx context.Context, conn *pgx.Conn) (remora.Inventory, error) {
	return inventory(ctx, conn)
}

func inventory(ctx context.Context, conn *pgx.Conn) (remora.Inventory, error) {
	var all remora.Inventory
	err := run(ctx, conn, "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL quote_all_identifiers = off; SET LOCAL jit = off; "+parts["inventory"], func(name string, row [][]byte) error {
		if name != "kind" || len(row) != 3 {
			return fmt.Errorf("an inventory's row has %d columns, first %s", len(row), name)
		}
		all = append(all, remora.InventoryKind{Kind: string(row[0]), Count: int64(atoi(string(row[1]))), SHA256: string(row[2])})
		return nil
	})
	return all, err
}

// Release ends the transaction. pg_dump has imported the snapshot once the archive's head has been read; afterwards the
// session holds nothing of the customer's but a connection.
//
// Where pg_dump reads under row security, it also looks again, at what is now: pg_dump holds its locks, so whoever
// wants to change a policy waits from here on, and what was changed between the audit and the locks is seen. Then the
// error is a *remora.Failure with ReasonRowSecurity. That takes so long at most: meanwhile nobody looks whom the dump keeps waiting.
func (s *Session) Release(ctx context.Context, most time.Duration) error {
	if !s.standing {
		return nil
	}
	s.standing = false
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	if !s.audit.OpenRows() {
		if _, err := s.conn.Exec(ctx, "COMMIT"); err != nil {
			return s.failure(err)
		}
		return nil
	}
	return s.stillOpen(ctx, most)
}

// stillOpen asks for gaps anew, in a transaction of its own.
func (s *Session) stillOpen(ctx context.Context, most time.Duration) error {
	if _, err := s.conn.Exec(ctx, "COMMIT"); err != nil {
		return s.failure(err)
	}
	now := Session{conn: s.conn, target: s.target, may: s.may, alike: map[string]int{}}
	err := now.ask(ctx, now.read, "begin")
	if err == nil {
		_, err = s.conn.Exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = %d", most.Milliseconds()))
	}
	if err == nil {
		err = now.ask(ctx, now.read, "read_gaps")
	}
	if err == nil {
		_, err = s.conn.Exec(ctx, "COMMIT")
	}
	if err != nil {
		return s.failure(err)
	}
	if f := now.audit.Refusal(); f != nil && f.Reason == remora.ReasonRowSecurity {
		return f
	}
	return nil
}

// Witness asks for the server's number once more, when pg_dump has ended.
func (s *Session) Witness(ctx context.Context) (remora.Witness, error) {
	w := s.audit.Witness
	if err := s.Release(ctx, time.Minute); err != nil { // nobody waits for what has ended
		return w, err
	}
	ctx, cancel := context.WithTimeout(ctx, shortTimeout)
	defer cancel()
	err := run(ctx, s.conn, parts["witness"], func(_ string, row [][]byte) error {
		if len(row) != 2 {
			return errors.New("the witness says something else")
		}
		w.After = int64(atoi(string(row[0])))
		w.Standby = w.Standby && string(row[1]) == "t" // one that was promoted meanwhile takes writes
		return nil
	})
	if err != nil {
		return s.audit.Witness, s.failure(err)
	}
	return w, nil
}

// Close ends the session, and its transaction. It may be called more than once.
func (s *Session) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // nothing is lost with it
}

// ask sends parts as one and gives every row to read.
func (s *Session) ask(ctx context.Context, read func(name string, row [][]byte) error, names ...string) error {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = parts[n]
	}
	if err := run(ctx, s.conn, strings.Join(all, "\n"), read); err != nil {
		return s.failure(err)
	}
	return nil
}

// maxRows bounds what the answers to one message may have of them; ours end earlier by themselves.
const maxRows = 10_000

// run sends statements in one message and reads all their rows, each with the name of its first column.
func run(ctx context.Context, conn *pgx.Conn, sql string, read func(name string, row [][]byte) error) error {
	answers := conn.PgConn().Exec(ctx, sql)
	var bad error
	n := 0
	for answers.NextResult() {
		r := answers.ResultReader()
		for ; r.NextRow(); n++ {
			if bad == nil && n == maxRows {
				bad = &tooMuchError{fmt.Sprintf("over %d rows", maxRows)}
				_ = conn.PgConn().Conn().Close() // or it could go on for ever
			}
			if fields := r.FieldDescriptions(); bad == nil && len(fields) > 0 {
				bad = read(fields[0].Name, r.Values())
			}
		}
		if _, err := r.Close(); err != nil && bad == nil {
			bad = err
		}
	}
	if err := answers.Close(); bad == nil {
		bad = err
	}
	return bad
}

// failure names what went wrong. What ended the connection stays the reason, of which pgx may say only that there is none any more.
func (s *Session) failure(err error) *remora.Failure {
	if over := s.may.over.Load(); over != nil {
		err = over
	}
	return failure(err, s.target.Credential.Password)
}

// limit is how many findings of one code a report lists; the queries ask for one more.
const limit = 100

// read takes one row of the audit's.
func (s *Session) read(name string, row [][]byte) error {
	switch {
	case name == "server_version_num" && len(row) == 6 && s.server.Major == 0: // it does not take back what was checked
		s.server.Major, s.server.Version, s.server.Standby = atoi(string(row[0]))/10000, string(row[1]), string(row[2]) == "t"
		s.audit.Role, s.snapshot, s.audit.Witness.Before = string(row[3]), string(row[4]), int64(atoi(string(row[5])))
		return nil
	case name == "size" && len(row) == 1:
		s.server.Size, s.measured = int64(atoi(string(row[0]))), true
		return nil
	case name == "columns" && len(row) == 2:
		s.server.Columns, s.server.Comments = int64(atoi(string(row[0]))), int64(atoi(string(row[1])))
		return nil
	case name == "code" && len(row) == 5:
		f := remora.Finding{Code: string(row[0]), Severity: remora.Severity(row[1]), Object: string(row[2]), Detail: string(row[3]), Fix: string(row[4])}
		if s.alike[f.Code]++; s.alike[f.Code] > limit {
			s.audit.More = true
			return nil
		}
		s.audit.Findings = append(s.audit.Findings, f)
		return nil
	case name == "ignored":
		return nil
	}
	return fmt.Errorf("the server answers with a column %.64q", name)
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
