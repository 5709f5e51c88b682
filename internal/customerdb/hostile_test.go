package customerdb_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// hostile is a server that speaks TLS and reads a client's first message, and then does as the test wishes.
func hostile(t *testing.T, then func(net.Conn)) customerdb.Target {
	t.Helper()
	return asked(t, func(c net.Conn, _ pgproto3.FrontendMessage) { then(c) })
}

// asked is one that is told the client's first message too.
func asked(t *testing.T, then func(net.Conn, pgproto3.FrontendMessage)) customerdb.Target {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-ended })
	go func() {
		defer close(ended)
		raw, err := l.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		b := pgproto3.NewBackend(raw, raw)
		if _, err := b.ReceiveStartupMessage(); err != nil {
			return
		}
		_, _ = raw.Write([]byte("S"))
		conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12})
		if first, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage(); err == nil {
			then(conn, first)
		}
	}()
	addr := l.Addr().(*net.TCPAddr)
	return customerdb.Target{
		Credential: credential.Credential{Host: "db.example", Port: uint16(addr.Port), User: "reader", Password: redact.New("canary-pw"), Database: "d"},
		Addr:       netip.MustParseAddr("127.0.0.1"),
	}
}

// logIn lets a client in that proves to know the password, and proves to it that the server does too (RFC 5802), as a
// hostile server can, for it is the one that chose it.
func logIn(b *pgproto3.Backend) {
	b.Send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}})
	_ = b.Flush()
	_ = b.SetAuthType(pgproto3.AuthTypeSASL)
	first, _ := b.Receive()
	initial, ok := first.(*pgproto3.SASLInitialResponse)
	if !ok {
		return
	}
	_, bare, _ := strings.Cut(string(initial.Data), ",,")
	_, nonce, _ := strings.Cut(bare, "r=")
	challenge := fmt.Sprintf("r=%sserver,s=%s,i=4096", nonce, base64.StdEncoding.EncodeToString([]byte("salt")))
	b.Send(&pgproto3.AuthenticationSASLContinue{Data: []byte(challenge)})
	_ = b.Flush()
	_ = b.SetAuthType(pgproto3.AuthTypeSASLContinue)
	second, _ := b.Receive()
	final, ok := second.(*pgproto3.SASLResponse)
	if !ok {
		return
	}
	unproven, _, _ := strings.Cut(string(final.Data), ",p=")
	salted, err := pbkdf2.Key(sha256.New, "canary-pw", []byte("salt"), 4096, sha256.Size)
	if err != nil {
		return
	}
	sign := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	signature := sign(sign(salted, "Server Key"), bare+","+challenge+","+unproven)
	b.Send(&pgproto3.AuthenticationSASLFinal{Data: []byte("v=" + base64.StdEncoding.EncodeToString(signature))})
	b.Send(&pgproto3.AuthenticationOk{})
}

// A server that announces a huge message gets no memory for it.
func TestHugeMessagesAreRefused(t *testing.T) {
	t.Parallel()
	sent := make(chan int, 1)
	target := hostile(t, func(c net.Conn) {
		head := binary.BigEndian.AppendUint32([]byte{'E'}, 1<<29)
		n, err := c.Write(head)
		for block := make([]byte, 1<<20); err == nil && n < 1<<29; {
			var m int
			m, err = c.Write(block)
			n += m
		}
		sent <- n
	})
	_, err := customerdb.Open(t.Context(), target)
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonUnreachable {
		t.Error(err)
	}
	if n := <-sent; n > 64<<20 { // what fits into the sockets' buffers
		t.Errorf("%d bytes were taken", n)
	}
}

// A server knows its password, and must not get it into our rows and pages.
func TestAnEchoedPasswordIsRemoved(t *testing.T) {
	t.Parallel()
	target := hostile(t, func(c net.Conn) {
		b := pgproto3.NewBackend(c, c)
		b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "28P01", Message: "no to canary-pw"})
		_ = b.Flush()
	})
	_, err := customerdb.Open(t.Context(), target)
	var f *remora.Failure
	if !errors.As(err, &f) || f.Reason != remora.ReasonLoginRefused || !strings.Contains(f.Detail, "no to") {
		t.Fatal(err)
	}
	if out := fmt.Sprintf("%+v %#v %s %v", f, f, f.Detail, f.Cause); strings.Contains(out, "canary-pw") {
		t.Error(out)
	}
}

// A session is read-only from its first message on, whatever role and database have set, and outside of transactions too.
func TestSessionsBeginReadOnly(t *testing.T) {
	t.Parallel()
	told := make(chan map[string]string, 1)
	_, _ = customerdb.Open(t.Context(), asked(t, func(_ net.Conn, first pgproto3.FrontendMessage) {
		m, _ := first.(*pgproto3.StartupMessage)
		told <- m.Parameters
	}))
	if set := <-told; set["default_transaction_read_only"] != "on" || set["search_path"] != "pg_catalog" || set["statement_timeout"] == "" {
		t.Errorf("%v", set)
	}
}
