// Package customerdb is what we ask a customer's server ourselves, before pg_dump does the work and after it: which
// version it is, how large the database is, what the credential may do (audit.sql), what there is in the snapshot that
// pg_dump then reads, and whether anything was written meanwhile. Its sessions are read-only.
package customerdb

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Target is where and as whom to connect.
type Target struct {
	Credential credential.Credential
	Addr       netip.Addr // resolved and checked by the caller
	AppName    string
	Roots      *x509.CertPool // who vouches for certificates, where the credential asks for that; nil is the system's
}

// Limits. A connection and its first answer take a fraction of a second; the audit of 10,000 tables half of one.
const (
	connectTimeout = 10 * time.Second
	auditTimeout   = 65 * time.Second // the server ends a statement after 60 s
	shortTimeout   = 12 * time.Second // the server ends a statement after shortStatement: if we did, the connection would be gone
	shortStatement = 10 * time.Second
)

// config is made field by field. pgx only takes configurations that its parser has made, and the parser
// reads the environment, password files and service files for what the string leaves out: so the string is a
// constant that leaves nothing out, and everything a customer says is set afterwards.
func config(t Target, may *ration) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig("host=unset port=1 user=unset password=unset dbname=unset sslmode=disable passfile=/nonexistent servicefile=/nonexistent connect_timeout=10 target_session_attrs=any")
	if err != nil {
		return nil, fmt.Errorf("make configuration: %w", err)
	}
	c := t.Credential
	cfg.Host, cfg.Port, cfg.User, cfg.Password, cfg.Database = c.Host, c.Port, c.User, c.Password.Reveal(), c.Database
	cfg.Fallbacks = nil
	// Heroku Postgres presents certificates that no authority has signed, and its own tools connect with
	// sslmode=require, which encrypts and does not verify.
	cfg.TLSConfig = &tls.Config{ServerName: c.Host, MinVersion: tls.VersionTLS12, RootCAs: t.Roots, InsecureSkipVerify: !c.Verify} //nolint:gosec // see above
	// Whoever ends TLS in the middle has another certificate, and the login is bound to it: he can neither pass the login
	// on nor ask for the password itself.
	cfg.RequireAuth, cfg.ChannelBinding = "scram-sha-256", "require"
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{t.Addr.String()}, nil }
	cfg.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.Dial(ctx, network, net.JoinHostPort(t.Addr.String(), strconv.Itoa(int(c.Port))))
	}
	cfg.RuntimeParams = map[string]string{
		"application_name": t.AppName, "default_transaction_read_only": "on", "statement_timeout": strconv.FormatInt(shortStatement.Milliseconds(), 10),
		"search_path":         "pg_catalog",
		"client_min_messages": "error", // a role may have set that it is told more, and what nobody has asked for is rationed
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.BuildFrontend = may.frontend
	return cfg, nil
}

// reasons by SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html).
var reasons = map[string]remora.Reason{
	"28P01": remora.ReasonLoginRefused, "28000": remora.ReasonLoginRefused, "42501": remora.ReasonPermission,
	"3D000": remora.ReasonDatabaseMissing, "53300": remora.ReasonTooManyConnections,
	"57014": remora.ReasonUnreachable, "57P01": remora.ReasonUnreachable, "57P02": remora.ReasonUnreachable, "57P03": remora.ReasonUnreachable,
}

// failure names what went wrong. A server that asks for the password itself knows it and may say it again.
func failure(err error, password redact.Secret) *remora.Failure {
	var f *remora.Failure
	if errors.As(err, &f) { // it has its name
		return f
	}
	scrub := redact.NewScrubber(password).Scrub
	f = &remora.Failure{Reason: remora.ReasonUnreachable}
	var pg *pgconn.PgError
	var cert *tls.CertificateVerificationError
	var over *tooMuchError
	switch {
	case errors.As(err, &over):
		f.Reason, f.Detail = remora.ReasonDumpFailed, "We ended the connection: "+over.Error()
	case errors.As(err, &cert):
		f.Reason = remora.ReasonCertificate
	case errors.As(err, &pg):
		f.Detail = scrub(pg.Severity + ":  " + pg.Message)
		f.Reason = reasons[pg.Code]
		if f.Reason == remora.ReasonNone {
			f.Reason = remora.ReasonDumpFailed
		}
	case refusedTLS(err):
		f.Reason = remora.ReasonTLSRequired
	case weakLogin(err):
		f.Reason = remora.ReasonWeakLogin
	}
	f.Cause = errors.New(scrub(text(err)))
	return f
}

// refusedTLS matches pgx's words for a server that answers "no" to an SSLRequest; it has no type for it.
func refusedTLS(err error) bool {
	return strings.Contains(err.Error(), "server refused TLS connection")
}

// weakLogin matches pgx's words for a server that asks for another login than we give; it has no type for it.
func weakLogin(err error) bool {
	return strings.Contains(err.Error(), "channel binding") || strings.Contains(err.Error(), "authentication method requirement")
}

// text keeps what is particular of a failed connection: pgx's own errors repeat the configuration.
func text(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Error()
	}
	var over *tooMuchError
	if errors.As(err, &over) {
		return over.Error()
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Error()
	}
	return fmt.Sprintf("%T", err)
}
