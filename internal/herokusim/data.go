package herokusim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

const postgresService = "heroku-postgresql"

// Database is a Heroku Postgres database to be simulated, on a real server.
type Database struct {
	Name     string // the add-on's, such as postgresql-curved-12345
	App      string // the app it belongs to, where it is DATABASE
	AdminURL string // a superuser's; Heroku's own side
	Owner    string // the customer's role, which owns the database and is no superuser
	Password string
	DBName   string
	Host     string
	Port     int
}

type database struct {
	Database
	credentials map[string]string // role: password
}

// AddDatabase registers a database and attaches the owner's credential to its app.
func (s *Sim) AddDatabase(d Database) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.findApp(d.App)
	if a == nil {
		return errors.New("herokusim: there is no app " + d.App)
	}
	x := &addon{ID: uuid.NewString(), Name: d.Name, Service: postgresService, Plan: "standard-0", App: a, State: "provisioned", Config: map[string]string{}, CreatedAt: time.Now().UTC()}
	s.addons = append(s.addons, x)
	s.databases[d.Name] = &database{d, map[string]string{}}
	s.attach(x, a, "DATABASE", "")
	return nil
}

// url is the config var's value for an attachment's namespace: null is the owner's.
func (d *database) url(namespace string) (string, bool) {
	role, password := d.Owner, d.Password
	if namespace != "" {
		name, ok := strings.CutPrefix(namespace, "credential:")
		if !ok || d.credentials[name] == "" {
			return "", false
		}
		role, password = name, d.credentials[name]
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(role, password), Host: net.JoinHostPort(d.Host, strconv.Itoa(d.Port)), Path: "/" + d.DBName}
	return u.String(), true
}

func (s *Sim) data(r chi.Router) {
	r.Post("/postgres/v0/databases/{name}/credentials", s.owner(s.createCredential))
	r.Get("/postgres/v0/databases/{name}/credentials", s.owner(func(w http.ResponseWriter, r *http.Request) {
		list := []object{}
		if d := s.databases[chi.URLParam(r, "name")]; d != nil {
			for name := range d.credentials {
				list = append(list, object{"name": name, "state": "active", "database": d.DBName, "host": d.Host, "port": d.Port})
			}
		}
		reply(w, 200, list)
	}))
	r.Post("/postgres/v0/databases/{name}/credentials/{credential}/credentials_rotation", s.owner(func(w http.ResponseWriter, r *http.Request) {
		if err := s.rotate(r.Context(), chi.URLParam(r, "name"), chi.URLParam(r, "credential")); err != nil {
			fail(w, 422, "invalid_params", err.Error())
			return
		}
		reply(w, 200, object{"message": "Rotated."})
	}))
	r.Get("/client/v11/databases/{id}", s.owner(s.showDatabase))
	r.Post("/client/v11/databases/{id}/restores", s.owner(s.startRestore))
	r.Get("/client/v11/apps/{app}/transfers/{id}", s.owner(s.showTransfer))
}

// showDatabase is what pg:info asks for: names and values, in the order in which it prints them.
func (s *Sim) showDatabase(w http.ResponseWriter, r *http.Request) {
	x := s.findAddon(chi.URLParam(r, "id"), "")
	if x == nil || s.databases[x.Name] == nil {
		missing(w, "database")
		return
	}
	d := s.databases[x.Name]
	conn, err := pgx.Connect(r.Context(), d.AdminURL)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, "unavailable", "The database does not answer.")
		return
	}
	defer conn.Close(context.WithoutCancel(r.Context())) //nolint:errcheck // nothing is lost with it
	var version, size string
	var connections, tables int
	err = conn.QueryRow(r.Context(), `SELECT current_setting('server_version'), pg_size_pretty(pg_database_size(current_database())),
		(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),
		(SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema'))`).Scan(&version, &size, &connections, &tables)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, "unavailable", "The database does not answer.")
		return
	}
	address, _ := d.url("")
	line := func(name, value string) object { return object{"name": name, "values": []string{value}} }
	reply(w, 200, object{"resource_url": address, "info": []object{
		line("Plan", x.Plan), line("Status", "Available"), line("Data Size", size), line("Tables", strconv.Itoa(tables)),
		line("PG Version", version), line("Connections", strconv.Itoa(connections)), line("Credentials", strconv.Itoa(1+len(d.credentials))),
	}})
}

// createCredential makes a role that may log in and nothing else.
func (s *Sim) createCredential(w http.ResponseWriter, r *http.Request) {
	var in struct{ Name string }
	d := s.databases[chi.URLParam(r, "name")]
	if d == nil {
		missing(w, "database")
		return
	}
	if !decode(r, &in) || in.Name == "" || d.credentials[in.Name] != "" {
		fail(w, 422, "invalid_params", "The credential needs a name that is not taken.")
		return
	}
	password := random(65)
	err := d.admin(r.Context(), fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", ident(in.Name), password), fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", ident(d.DBName), ident(in.Name)))
	if err != nil {
		fail(w, 422, "invalid_params", err.Error())
		return
	}
	d.credentials[in.Name] = password
	reply(w, 201, object{"message": "Created."})
}

// admin runs statements as the superuser, in the customer's database.
func (d *database) admin(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, d.AdminURL)
	if err != nil {
		return errors.New("the database does not answer")
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is lost with it
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return errors.New("the database refused")
		}
	}
	return nil
}

func ident(s string) string { return pgx.Identifier{s}.Sanitize() }

// rotate gives a credential a new password and ends its sessions. The apps that have it get its new address by a release.
func (s *Sim) rotate(ctx context.Context, name, role string) error {
	d := s.databases[name]
	if d == nil || d.credentials[role] == "" {
		return errors.New("there is no such credential")
	}
	password := random(65)
	err := d.admin(ctx, fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", ident(role), password),
		fmt.Sprintf("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '%s'", strings.ReplaceAll(role, "'", "''")))
	if err != nil {
		return err
	}
	d.credentials[role] = password
	s.release(name, func(namespace string) bool { return namespace == "credential:"+role })
	return nil
}

// release makes a new release of every app to which a database is attached by one of the namespaces.
func (s *Sim) release(database string, by func(namespace string) bool) {
	for _, t := range s.attachments {
		if t.Addon.Name == database && by(t.Namespace) {
			t.App.Version++
		}
	}
}

// RotateCredential is pg:credentials:rotate.
func (s *Sim) RotateCredential(ctx context.Context, name, role string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rotate(ctx, name, role)
}

// MoveDatabase is a failover: the same database is at another address from now on.
func (s *Sim) MoveDatabase(name, adminURL, host string, port int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.databases[name]; d != nil {
		d.AdminURL, d.Host, d.Port = adminURL, host, port
		s.release(name, func(string) bool { return true })
	}
}

type transfer struct {
	id       string
	started  time.Time
	finished time.Time
	bytes    int64
	warnings int
	ok       bool
	log      []object
}

func (t *transfer) say(format string, args ...any) {
	t.log = append(t.log, object{"created_at": time.Now().UTC().Format(time.RFC3339), "message": fmt.Sprintf(format, args...)})
}

func (s *Sim) startRestore(w http.ResponseWriter, r *http.Request) {
	var in struct {
		URL string `json:"backup_url"`
	}
	x := s.findAddon(chi.URLParam(r, "id"), "")
	if x == nil || s.databases[x.Name] == nil || !decode(r, &in) {
		missing(w, "database")
		return
	}
	t := &transfer{id: uuid.NewString(), started: time.Now().UTC()}
	s.transfers[t.id] = t
	target, _ := s.databases[x.Name].url("")
	s.restores.Go(func() { s.restore(t, in.URL, target) })
	reply(w, 200, object{"uuid": t.id})
}

// restore is what pg:backups:restore does: it fetches the URL and gives what comes to pg_restore, as the owner.
func (s *Sim) restore(t *transfer, from, target string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	n, warnings, err := s.pipe(ctx, from, target)
	s.mu.Lock()
	defer s.mu.Unlock()
	t.bytes, t.warnings, t.ok, t.finished = n, warnings, err == nil, time.Now().UTC()
	if err != nil {
		t.say("restore failed: %v", err)
	}
}

func (s *Sim) pipe(ctx context.Context, from, target string) (n int64, warnings int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return 0, 0, errors.New("the backup's URL is not valid")
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, 0, errors.New("the backup cannot be fetched")
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("the backup's URL answered %s", resp.Status)
	}
	u, err := url.Parse(target)
	if err != nil {
		return 0, 0, errors.New("the target's address is not valid")
	}
	password, _ := u.User.Password()
	cmd := exec.CommandContext(ctx, filepath.Join(s.cfg.RestoreBy, "pg_restore"), "--no-acl", "--no-owner", "--clean", "--if-exists", //nolint:gosec // set up by whoever runs the simulator
		"-h", u.Hostname(), "-p", u.Port(), "-U", u.User.Username(), "-d", strings.TrimPrefix(u.Path, "/"))
	cmd.Env = []string{"PGPASSWORD=" + password, "LC_ALL=C.UTF-8", "PATH=/usr/bin:/bin"}
	counted := &counter{r: resp.Body}
	cmd.Stdin = counted
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Run()
	warnings = strings.Count(stderr.String(), "pg_restore: error:")
	if counted.err != nil {
		return counted.n, warnings, errors.New("the backup broke off while it was fetched")
	}
	if err != nil && warnings == 0 {
		return counted.n, 0, fmt.Errorf("pg_restore: %s", strings.TrimSpace(stderr.String()))
	}
	return counted.n, warnings, nil // what pg_restore goes on after is a warning, as on Heroku
}

type counter struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

func (s *Sim) showTransfer(w http.ResponseWriter, r *http.Request) {
	t := s.transfers[chi.URLParam(r, "id")]
	if t == nil {
		missing(w, "transfer")
		return
	}
	out := object{
		"uuid": t.id, "num": 1, "from_type": "gof3r", "to_type": "pg_restore", "started_at": t.started, "processed_bytes": t.bytes,
		"succeeded": t.ok, "warnings": t.warnings, "logs": t.log, "finished_at": nil, "options": object{},
	}
	if !t.finished.IsZero() {
		out["finished_at"] = t.finished
	}
	reply(w, 200, out)
}
