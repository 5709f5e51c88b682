// Package stack is the whole service on one machine, for the demo and the end-to-end tests: two private
// Postgres servers (ours and a customer's), a real S3 server, a simulated Heroku, and the product's processes,
// started from the program that names itself, so that killing one is a real kill.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/freeport"
	"github.com/remora-backup/remora/internal/devtools/inbox"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/devtools/locals3"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/herokusim"
	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// Names of what the customer has.
const (
	HelperApp  = "shop-backups"
	ShopApp    = "shop"
	Addon      = "postgresql-curved-12345"
	Credential = "remora_ro"
	Email      = "owner@example.com"
	Service    = "backups@remora.example"
)

// Config of a stack.
type Config struct {
	Root    string   // the checkout, where bin/s3dev is
	Program []string // how to run a process of the product: this, then its name
	Logs    io.Writer
	Port    int // of web; 0 is a free one
	SimPort int // of the simulator; 0 is a free one

	Mailed      func(inbox.Mail)  // is told of each mail, if not nil
	OwnSettings map[string]string // of our own Postgres, beyond localpg's
}

// Stack is a running stack.
type Stack struct {
	Config
	Own      *localpg.Cluster
	Customer *localpg.Cluster
	S3       *locals3.Server
	Sim      *herokusim.Sim
	Mail     *inbox.Inbox // the operator's mail server, and every mailbox
	SimURL   string
	WebURL   string
	Metrics  string // where the worker serves its own measures
	Scratch  string // where the verifier makes scratch servers
	Bucket   *objectstore.Bucket
	Store    *postgres.Store
	Keys     *keyring.Keyring
	Owner    string // the customer's role
	Password string // and its password

	MetricsToken string // what web's measures are read with

	dir     string
	env     []string
	secrets map[string][]string // of the settings

	ownPassword                            string // of our role in our database
	partnerPassword, ssoSalt, clientSecret string // between Heroku and us
	ourSecret, theirSecret                 string // of our account at the S3 server, and of the customer's
	closers                                []func() error
}

const bucketName = "remora"

// Start starts the servers and the simulator, migrates our database, and fills the customer's. Processes of the
// product are started with Spawn. On an error everything that was started is stopped.
func Start(ctx context.Context, cfg Config) (_ *Stack, err error) {
	s := &Stack{Config: cfg, Owner: "shop_owner", Password: "owner-" + remora.NewToken()}
	// No two stacks have a secret of the service's in common: beside this one's processes another's run, which have that one's.
	for _, secret := range []*string{&s.MetricsToken, &s.ownPassword, &s.partnerPassword, &s.ssoSalt, &s.clientSecret, &s.ourSecret, &s.theirSecret} {
		*secret = remora.NewToken()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "remora-stack-"); err != nil {
		return nil, err
	}
	s.OnClose(func() error { return os.RemoveAll(s.dir) })
	s.Scratch = filepath.Join(os.TempDir(), "remora-scratch-"+filepath.Base(s.dir))
	s.OnClose(func() error { return os.RemoveAll(s.Scratch) })
	if err := s.servers(ctx); err != nil {
		return nil, err
	}
	if s.WebURL, err = reserve(cfg.Port); err != nil {
		return nil, err
	}
	if s.Metrics, err = reserve(0); err != nil {
		return nil, err
	}
	if err := s.simulator(); err != nil {
		return nil, err
	}
	if s.Mail, err = inbox.Start(inbox.Config{Deliver: cfg.Mailed}); err != nil {
		return nil, err
	}
	s.OnClose(s.Mail.Close)
	if err := s.settings(); err != nil {
		return nil, err
	}
	if err := s.Bucket.Make(ctx); err != nil {
		return nil, err
	}
	return s, s.run(ctx, "migrate")
}

// OnClose has a function called by Close, before those that were given earlier.
func (s *Stack) OnClose(f func() error) { s.closers = append(s.closers, f) }

// Close stops everything, last started first.
func (s *Stack) Close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

func (s *Stack) servers(ctx context.Context) (err error) {
	if s.Own, err = localpg.Start(ctx, localpg.Config{Settings: s.OwnSettings}); err != nil {
		return err
	}
	s.OnClose(s.Own.Stop)
	if s.Customer, err = localpg.Start(ctx, localpg.Config{TLS: true}); err != nil {
		return err
	}
	s.OnClose(func() error { return s.Customer.Stop() })
	dir := filepath.Join(s.dir, "s3")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if s.S3, err = locals3.Start(filepath.Join(s.Root, "bin", "s3dev"), dir, ourAccess, s.ourSecret, theirAccess+":"+s.theirSecret); err != nil {
		return err
	}
	s.OnClose(s.S3.Stop)
	return Exec(ctx, s.Own.SuperuserURL("postgres"), "CREATE ROLE remora LOGIN PASSWORD '"+s.ownPassword+"'", "CREATE DATABASE remora OWNER remora")
}

// reserve finds an address for a process: with the port that was asked for, or else any.
func reserve(port int) (string, error) {
	if port == 0 {
		var err error
		if port, err = freeport.Pick(); err != nil {
			return "", err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return "", taken(port, "-port", err)
	}
	return "http://localhost:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port), l.Close()
}

func taken(port int, flag string, err error) error {
	return fmt.Errorf("port %d is taken: end what listens there, or choose another (make demo ARGS='%s NUMBER'): %w", port, flag, err)
}

func (s *Stack) simulator() error {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(s.SimPort))
	if err != nil {
		return taken(s.SimPort, "-heroku-port", err)
	}
	s.SimURL = "http://localhost:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	s.Sim, err = herokusim.New(herokusim.Config{
		URL: s.SimURL, APIKey: "demo-api-key", Email: Email, ServiceEmail: Service, ServiceToken: "service-" + remora.NewToken(),
		RestoreBy: s.Customer.BinDir(), Log: slog.New(slog.NewTextHandler(s.Logs, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Provider: herokusim.Provider{
			ID: "remora-backup", Password: s.partnerPassword, SSOSalt: s.ssoSalt, ClientSecret: s.clientSecret,
			BaseURL: s.WebURL + "/heroku/resources", SSOURL: s.WebURL + "/heroku/sso", Plans: []string{"test", "mako", "hammerhead", "great-white"},
		},
	})
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: s.Sim.Handler(), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(l) // until it is closed
	}()
	s.OnClose(func() error {
		err := srv.Close()
		<-ended
		s.Sim.Close()
		return err
	})
	return nil
}

// settings are the environment that the product's processes get, and our own view on the same stores.
func (s *Stack) settings() (err error) {
	port := s.WebURL[len("http://localhost:"):]
	ring := keyring.Generate("demo")
	if s.Keys, err = keyring.Parse(ring); err != nil {
		return err
	}
	database := s.Own.URL("remora", s.ownPassword, "remora")
	_, master, _ := strings.Cut(ring.Reveal(), ":")
	s.secrets = map[string][]string{
		"the master key": {master}, "the password of our database": {s.ownPassword}, "the store's key": {s.ourSecret}, "the key of a customer's bucket": {s.theirSecret},
		"the partner password": {s.partnerPassword}, "the salt of sign-ons": {s.ssoSalt}, "the metrics token": {s.MetricsToken},
	}
	s.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir,
		"DATABASE_URL=" + database, "KEYRING=" + ring.Reveal(), "ADDON_PASSWORD=" + s.partnerPassword, "SSO_SALT=" + s.ssoSalt,
		"CLIENT_SECRET=" + s.clientSecret, "SERVICE_ACCOUNT=" + Service, "SERVICE_TOKEN=" + s.Sim.ServiceToken(),
		"HEROKU_API_URL=" + s.SimURL, "HEROKU_ID_URL=" + s.SimURL, "PORT=" + port, "BIND=127.0.0.1", "PUBLIC_URL=" + s.WebURL,
		"S3_ENDPOINT=" + s.S3.Endpoint(), "S3_BUCKET=" + bucketName, "S3_ACCESS_KEY=" + ourAccess, "S3_SECRET_KEY=" + s.ourSecret, "S3_PATH_STYLE=true",
		"PG_CLIENT_DIRS=" + s.Customer.BinDir(), "ALLOW_OUTDATED_PG=true", "PG_SERVER_DIRS=" + s.Customer.BinDir(), "SCRATCH_DIR=" + s.Scratch, "SCRATCH_DISK_MB=4096", "GATHER_NEWS=1s", "TICK_EVERY=2s", "SWEEP_EVERY=3s", "SWEEP_AFTER=2s", "EXPIRE_EVERY=2s", "DELETE_AFTER=1m", "LEASE=12s", "CHECK_EVERY=10s",
		"SMTP_URL=smtp://127.0.0.1:" + strconv.Itoa(s.Mail.Port()), "MAIL_FROM=Remora Backup <news@remora.example>",
		"METRICS_TOKEN=" + s.MetricsToken, "WATCH_EVERY=1s", "WORKER_METRICS=127.0.0.1" + s.Metrics[len("http://localhost"):],
	}
	if s.Bucket, err = objectstore.New(objectstore.Config{
		Endpoint: s.S3.Endpoint(), Region: "us-east-1", Bucket: bucketName, AccessKey: ourAccess, SecretKey: redact.New(s.ourSecret),
		PathStyle: true, HTTP: dialer.HTTPClient(0),
	}); err != nil {
		return err
	}
	pool, err := postgres.NewPool(context.Background(), database, 4)
	if err != nil {
		return err
	}
	s.OnClose(func() error { pool.Close(); return nil })
	s.Store, err = postgres.New(postgres.Config{Pool: pool, Keys: s.Keys})
	return err
}

// Exec runs statements on a connection of their own.
func Exec(ctx context.Context, url string, statements ...string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost with it
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%.60s: %w", sql, err)
		}
	}
	return nil
}
