// Package hostilepg is the Postgres server of a customer who means harm, for tests. It knows the password, as whoever owns a
// server does, so a client that asks for SCRAM and a bound certificate lets itself be told anything by it.
package hostilepg

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Server is one that listens on loopback.
type Server struct {
	Port uint16

	listener net.Listener
	ended    chan struct{}
}

// Listen starts a server that takes one connection, in TLS, and gives it to serve with the client's first message. The caller
// closes it.
func Listen(serve func(net.Conn, *pgproto3.StartupMessage)) (*Server, error) {
	cert, err := certificate()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{Port: uint16(l.Addr().(*net.TCPAddr).Port), listener: l, ended: make(chan struct{})} //nolint:gosec // a port
	go func() {
		defer close(s.ended)
		raw, err := l.Accept()
		_ = l.Close() // nobody else is expected
		if err != nil {
			return
		}
		defer raw.Close()                                                                //nolint:errcheck // the test's own
		if _, err := pgproto3.NewBackend(raw, raw).ReceiveStartupMessage(); err != nil { // SSLRequest
			return
		}
		_, _ = raw.Write([]byte("S"))
		conn := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12})
		if first, err := pgproto3.NewBackend(conn, conn).ReceiveStartupMessage(); err == nil {
			if m, ok := first.(*pgproto3.StartupMessage); ok {
				serve(conn, m)
			}
		}
	}()
	return s, nil
}

// Close ends the server, once its client has gone.
func (s *Server) Close() error {
	err := s.listener.Close()
	<-s.ended
	if errors.Is(err, net.ErrClosed) { // it had its client
		return nil
	}
	return err
}

// certificate is one that nobody vouches for.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// LogIn lets a client in, and proves to it that the server knows the password (RFC 5802).
func LogIn(b *pgproto3.Backend, password string) error {
	b.Send(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}})
	_ = b.Flush() // what comes next tells
	_ = b.SetAuthType(pgproto3.AuthTypeSASL)
	first, err := b.Receive()
	initial, ok := first.(*pgproto3.SASLInitialResponse)
	if !ok {
		return errors.Join(errors.New("no SCRAM begins"), err)
	}
	_, bare, _ := strings.Cut(string(initial.Data), ",,")
	_, nonce, _ := strings.Cut(bare, "r=")
	challenge := fmt.Sprintf("r=%sserver,s=%s,i=4096", nonce, base64.StdEncoding.EncodeToString([]byte("salt")))
	b.Send(&pgproto3.AuthenticationSASLContinue{Data: []byte(challenge)})
	_ = b.Flush() // as above
	_ = b.SetAuthType(pgproto3.AuthTypeSASLContinue)
	second, err := b.Receive()
	final, ok := second.(*pgproto3.SASLResponse)
	if !ok {
		return errors.Join(errors.New("no SCRAM ends"), err)
	}
	unproven, _, _ := strings.Cut(string(final.Data), ",p=")
	salted, err := pbkdf2.Key(sha256.New, password, []byte("salt"), 4096, sha256.Size)
	if err != nil {
		return fmt.Errorf("salt the password: %w", err)
	}
	sign := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	signature := sign(sign(salted, "Server Key"), bare+","+challenge+","+unproven)
	b.Send(&pgproto3.AuthenticationSASLFinal{Data: []byte("v=" + base64.StdEncoding.EncodeToString(signature))})
	b.Send(&pgproto3.AuthenticationOk{})
	return nil
}

// Relay lets a client in and has a real server answer it, at url, but for what instead answers: it is asked of each query
// first, and ends the connection where it returns true.
func Relay(client net.Conn, first *pgproto3.StartupMessage, password, url string, instead func(sql string, client net.Conn) bool) {
	b := pgproto3.NewBackend(client, client)
	if LogIn(b, password) != nil {
		return
	}
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return
	}
	for name, value := range first.Parameters {
		if name != "user" && name != "database" {
			cfg.RuntimeParams[name] = value
		}
	}
	conn, err := pgconn.ConnectConfig(context.Background(), cfg)
	if err != nil {
		return
	}
	server, err := conn.Hijack()
	if err != nil {
		return
	}
	defer server.Conn.Close() //nolint:errcheck // the test's own
	for name, value := range server.ParameterStatuses {
		b.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	b.Send(&pgproto3.BackendKeyData{ProcessID: server.PID, SecretKey: server.SecretKey})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	for b.Flush() == nil {
		m, err := b.Receive()
		if err != nil {
			return
		}
		q, query := m.(*pgproto3.Query)
		if query && instead(q.String, client) {
			return
		}
		server.Frontend.Send(m)
		if _, sync := m.(*pgproto3.Sync); !query && !sync {
			continue
		}
		if server.Frontend.Flush() != nil || !answer(b, server.Frontend) {
			return
		}
	}
}

// answer passes a server's answer on, and tells whether it came to its end.
func answer(to *pgproto3.Backend, from *pgproto3.Frontend) bool {
	for {
		m, err := from.Receive()
		if err != nil {
			return false
		}
		to.Send(m)
		if _, over := m.(*pgproto3.ReadyForQuery); over {
			return true
		}
		if to.Flush() != nil {
			return false
		}
	}
}
