package customerdb_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
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
		if _, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage(); err == nil {
			then(conn)
		}
	}()
	addr := l.Addr().(*net.TCPAddr)
	return customerdb.Target{
		Credential: credential.Credential{Host: "db.example", Port: uint16(addr.Port), User: "reader", Password: redact.New("canary-pw"), Database: "d"},
		Addr:       netip.MustParseAddr("127.0.0.1"),
	}
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
