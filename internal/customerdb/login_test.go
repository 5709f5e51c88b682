package customerdb_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Whoever sits between us and the server can ask for the password itself, or for an MD5 of it. He does not get it.
func TestAWeakLoginIsRefused(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]pgproto3.BackendMessage{
		"cleartext":       &pgproto3.AuthenticationCleartextPassword{},
		"MD5":             &pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}},
		"unbound SCRAM":   &pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}},
		"none whatsoever": &pgproto3.AuthenticationOk{},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			told := make(chan int, 1)
			target := hostile(t, func(c net.Conn) {
				b := pgproto3.NewBackend(c, c)
				b.Send(ask)
				_ = b.Flush()
				n, _ := c.Read(make([]byte, 100))
				told <- n
			})
			_, err := customerdb.Open(t.Context(), target)
			var f *remora.Failure
			if !errors.As(err, &f) || f.Reason != remora.ReasonWeakLogin {
				t.Error(err)
			}
			if n := <-told; n > 0 {
				t.Errorf("the server was told %d bytes", n)
			}
		})
	}
}

// One who passes everything on to the real server has another certificate, which is what the login is bound to.
func TestALoginCannotBeRelayed(t *testing.T) {
	t.Parallel()
	c, err := localpg.Start(t.Context(), localpg.Config{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop() //nolint:errcheck // the test is over
	pgtest.Exec(t, c.SuperuserURL("postgres"), "CREATE ROLE reader LOGIN PASSWORD 'canary-pw'")
	_, port := c.Addr()
	target := hostile(t, func(client net.Conn) {
		raw, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			return
		}
		defer raw.Close()
		f := pgproto3.NewFrontend(raw, raw)
		f.Send(&pgproto3.SSLRequest{})
		_ = f.Flush()
		_, _ = io.ReadFull(raw, make([]byte, 1))
		server := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		f = pgproto3.NewFrontend(server, server)
		f.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "reader", "database": "postgres"}})
		_ = f.Flush()
		go func() { _, _ = io.Copy(server, client); _ = raw.Close() }()
		_, _ = io.Copy(client, server)
	})
	target.Credential.Database = "postgres"
	_, err = customerdb.Open(t.Context(), target)
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonLoginRefused {
		t.Error(err)
	}
	target.Credential.Port, target.Credential.Password = uint16(port), redact.New("canary-pw")
	s, err := customerdb.Open(t.Context(), target)
	if err != nil {
		t.Fatalf("the server itself: %v", err)
	}
	s.Close()
}

// A URL that asks for a verified certificate gets that, and the password goes nowhere else.
func TestCertificatesAreVerifiedWhereAskedFor(t *testing.T) {
	t.Parallel()
	c, err := localpg.Start(t.Context(), localpg.Config{TLS: true, Name: "db.example"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop() //nolint:errcheck // the test is over
	pgtest.Exec(t, c.SuperuserURL("postgres"), "CREATE ROLE reader LOGIN PASSWORD 'canary-pw'")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.Certificate()))
	_, port := c.Addr()
	for name, x := range map[string]struct {
		host  string
		roots *x509.CertPool
		want  remora.Reason
	}{
		"known":            {"db.example", roots, remora.ReasonNone},
		"of nobody":        {"db.example", nil, remora.ReasonCertificate},
		"of somebody else": {"other.example", roots, remora.ReasonCertificate},
	} {
		s, err := customerdb.Open(t.Context(), customerdb.Target{
			Credential: credential.Credential{Host: x.host, Port: uint16(port), User: "reader", Password: redact.New("canary-pw"), Database: "postgres", Verify: true},
			Addr:       netip.MustParseAddr("127.0.0.1"), Roots: x.roots,
		})
		f := &remora.Failure{}
		errors.As(err, &f)
		if f.Reason != x.want || x.want == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			s.Close()
		}
	}
}

// A server is known again by its certificate's public key, where no authority vouches for it; restarted with a new one, it is
// another one.
func TestAServersKeyIsSeen(t *testing.T) {
	t.Parallel()
	seen := func(verify bool) remora.ServerKey {
		t.Helper()
		c, err := localpg.Start(t.Context(), localpg.Config{TLS: true, Name: "db.example"})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Stop() //nolint:errcheck // the test is over
		pgtest.Exec(t, c.SuperuserURL("postgres"), "CREATE ROLE reader LOGIN PASSWORD 'canary-pw'")
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM([]byte(c.Certificate()))
		_, port := c.Addr()
		s, err := customerdb.Open(t.Context(), customerdb.Target{
			Credential: credential.Credential{Host: "db.example", Port: uint16(port), User: "reader", Password: redact.New("canary-pw"), Database: "postgres", Verify: verify},
			Addr:       netip.MustParseAddr("127.0.0.1"), Roots: roots,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		key := s.Server().Key
		if key.At != fmt.Sprint("db.example:", port) {
			t.Errorf("it is at %s", key.At)
		}
		if block, _ := pem.Decode([]byte(c.Certificate())); !verify {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo); !bytes.Equal(sum[:], key.SHA256) {
				t.Errorf("its key is %s", key)
			}
		}
		return key
	}
	if one, two := seen(false), seen(false); bytes.Equal(one.SHA256, two.SHA256) {
		t.Error("two servers have one key")
	}
	if key := seen(true); len(key.SHA256) > 0 {
		t.Errorf("of one that an authority vouches for the key is kept: %s", key)
	}
}
