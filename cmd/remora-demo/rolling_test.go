package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/remora"
)

// Two webs and two workers are replaced one by one, as a release and the platform's daily restart do it, while Heroku provisions,
// changes and removes add-ons and customers look at pages, ask for backups and download: every request is answered, every
// backup ends verified and is there once, whoever began it.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	b := &bundle{logs: &logtest.Buffer{}}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	b.Stack, err = stack.Start(ctx, stack.Config{Root: filepath.Join("..", ".."), Program: []string{self}, Logs: b.logs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(b.logs.String())
		}
	})
	if err := b.Fill(ctx, 2000); err != nil {
		t.Fatal(err)
	}
	router := b.route(t)
	webs := []*dyno{b.dyno(t, router), b.dyno(t, router)}
	workers := []*stack.Process{b.spawn(t, "worker", "WORKER_METRICS="), b.spawn(t, "worker", "WORKER_METRICS=")}
	v := b.connect(t)
	first := b.verified(t, "")
	link, err := v.Link(ctx, first.ID)
	if err != nil {
		t.Fatal(err)
	}
	download := fetchAll(t, link)
	if _, err := b.own(t).Exec(ctx, `INSERT INTO river.river_job (kind, queue, args, max_attempts) VALUES ('of_the_next_release', 'service', '{}', 1)`); err != nil {
		t.Fatal(err)
	}

	load := b.load(t, v, first, link, download)
	for i := range webs {
		load.passes(t, router)
		webs[i].restart(t, router)
	}
	for i := range workers {
		load.backsUp(t, b)
		if err := workers[i].Stop(); err != nil {
			t.Fatal(err)
		}
		workers[i] = b.spawn(t, "worker", "WORKER_METRICS=")
	}
	load.passes(t, router)
	load.end(t)
	b.await(t, func(x remora.Backup) bool { return x.State.Ended() })
	b.once(t, load)
}

func (b *bundle) spawn(t *testing.T, name string, settings ...string) *stack.Process {
	t.Helper()
	p, err := b.Spawn(name, settings...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// router stands where Heroku's does: it sends each request to the next live web, on a connection that it may keep, takes another
// where one refuses the connection (https://devcenter.heroku.com/articles/http-routing), and hears of a restart after the web does.
type router struct {
	mu    sync.Mutex
	dynos []*dyno
	next  int
}

// dyno is one web process, with how many requests the router has sent it.
type dyno struct {
	b       *bundle
	port    string
	process *stack.Process
	way     http.Transport // whose connections are kept
	sent    atomic.Int64
}

func (b *bundle) dyno(t *testing.T, to *router) *dyno {
	t.Helper()
	d := &dyno{b: b, port: freePort(t)}
	d.process = b.spawn(t, "web", "PORT="+d.port)
	beside := *b.Stack
	beside.WebURL = "http://127.0.0.1:" + d.port
	if err := beside.AwaitWeb(t.Context(), d.process); err != nil {
		t.Fatal(err)
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	to.dynos = append(to.dynos, d)
	return d
}

// restart ends a web as the platform does, and starts another once its router has heard: after three more requests, or when
// none can be sent to it any more.
func (d *dyno) restart(t *testing.T, from *router) {
	t.Helper()
	before, ended := d.sent.Load(), make(chan error, 1)
	go func() { ended <- d.process.Stop() }()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for heard := false; !heard && d.sent.Load() < before+3; {
		select {
		case <-d.process.Done():
			heard = true
		case <-poll.C:
		}
	}
	from.mu.Lock()
	from.dynos = slices.DeleteFunc(slices.Clone(from.dynos), func(other *dyno) bool { return other == d })
	from.mu.Unlock()
	d.b.dyno(t, from)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// RoundTrip implements http.RoundTripper.
func (r *router) RoundTrip(req *http.Request) (resp *http.Response, err error) {
	r.mu.Lock()
	live := slices.Clone(r.dynos)
	r.next++
	next := r.next
	r.mu.Unlock()
	err = errors.New("no web is live")
	for i := range live {
		d := live[(next+i)%len(live)]
		req.URL.Host = "127.0.0.1:" + d.port
		resp, err = d.way.RoundTrip(req)
		var failed *net.OpError
		if !errors.As(err, &failed) || failed.Op != "dial" {
			d.sent.Add(1)
			return resp, err
		}
	}
	return nil, err
}

// route has the router answer at the address that the outside knows.
func (b *bundle) route(t *testing.T) *router {
	t.Helper()
	r := &router{}
	l, err := net.Listen("tcp", strings.TrimPrefix(strings.Replace(b.WebURL, "localhost", "127.0.0.1", 1), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	front := &httptest.Server{Listener: l, Config: &http.Server{Handler: &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme = "http"
			p.SetXForwarded()
		},
		Transport: r,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "the router: "+err.Error(), http.StatusServiceUnavailable)
		},
	}}}
	front.Start()
	t.Cleanup(front.Close)
	return r
}

// load is what Heroku and customers ask for all the while.
type load struct {
	stop     context.CancelFunc
	at       sync.WaitGroup
	answered atomic.Int64
	asked    atomic.Int64 // backups, each of which was answered with a page

	mu      sync.Mutex
	wrong   []string
	removed []string // add-ons, which were provisioned, changed and removed
}

func (l *load) fails(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprint(what, ": ", err))
}

// load begins. Each of its clients asks for one thing after the other.
func (b *bundle) load(t *testing.T, v *stack.Visitor, first remora.Backup, link, download string) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop}
	forever := func(what string, do func(ctx context.Context) error) {
		l.at.Go(func() {
			pace := time.NewTicker(20 * time.Millisecond)
			defer pace.Stop()
			for ; ctx.Err() == nil; <-pace.C {
				if err := do(t.Context()); err != nil {
					l.fails(what, err)
				}
				l.answered.Add(1)
			}
		})
	}
	forever("Heroku", func(ctx context.Context) error { return l.lifetime(ctx, b) })
	forever("a page", func(ctx context.Context) error {
		_, err := v.Get(ctx, "/dashboard/backups/"+string(first.ID))
		return err
	})
	forever("a backup", func(ctx context.Context) error {
		_, err := v.Post(ctx, "/dashboard/databases/"+string(first.Database)+"/backups", nil)
		l.asked.Add(1)
		return err
	})
	forever("a download", func(ctx context.Context) error {
		got, err := body(ctx, link)
		if err == nil && got != download {
			err = fmt.Errorf("%d bytes of %d", len(got), len(download))
		}
		return err
	})
	return l
}

// lifetime is an add-on from its provision to its removal, each asked for twice, as Heroku may.
func (l *load) lifetime(ctx context.Context, b *bundle) error {
	id, request, err := b.Sim.Announce(stack.HelperApp, "mako")
	if err != nil {
		return err
	}
	for _, c := range []struct {
		method, path, body string
		want, again        int
	}{
		{http.MethodPost, "", string(request), 202, 202},
		{http.MethodPut, "/" + id, `{"plan":"hammerhead"}`, 200, 200},
		{http.MethodDelete, "/" + id, "", 204, 410},
	} {
		for _, want := range []int{c.want, c.again} {
			status, answer, err := b.Partner(ctx, b.WebURL, c.method, c.path, c.body)
			if err != nil {
				return err
			}
			if status != want {
				return fmt.Errorf("%s %s: %d %s", c.method, id, status, answer)
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removed = append(l.removed, id)
	return nil
}

func body(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(text), err
}

func fetchAll(t *testing.T, url string) string {
	t.Helper()
	text, err := body(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// passes waits until every client was answered some times more, by each web.
func (l *load) passes(t *testing.T, r *router) {
	t.Helper()
	r.mu.Lock()
	dynos := slices.Clone(r.dynos)
	r.mu.Unlock()
	for _, d := range dynos {
		before, answered := d.sent.Load(), l.answered.Load()
		l.until(t, func() bool { return d.sent.Load() >= before+5 && l.answered.Load() >= answered+10 })
	}
}

// backsUp waits until a worker is in the middle of a backup.
func (l *load) backsUp(t *testing.T, b *bundle) {
	t.Helper()
	own := b.own(t)
	l.until(t, func() (so bool) {
		if err := own.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM runs WHERE ended_at IS NULL)").Scan(&so); err != nil {
			t.Fatal(err)
		}
		return so
	})
}

func (l *load) until(t *testing.T, so func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !so() {
		select {
		case <-ctx.Done():
			t.Fatal("waited in vain")
		case <-poll.C:
		}
	}
}

// end lets what was asked for be answered, and tells of what was not.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.at.Wait()
	for _, w := range l.wrong {
		t.Error(w)
	}
	t.Logf("%d times answered, %d backups asked for, %d add-ons provisioned, changed and removed", l.answered.Load(), l.asked.Load(), len(l.removed))
}

// once sees that every backup is verified, its archive is there once, nothing else is, every add-on's removal is written down, and
// a job that none of these processes knows waits for those that do.
func (b *bundle) once(t *testing.T, l *load) {
	t.Helper()
	ctx, own := t.Context(), b.own(t)
	var backups, good int // of the add-on that stays: the others' are canceled with them
	err := own.QueryRow(ctx, "SELECT count(*), count(*) FILTER (WHERE state = 'verified') FROM backups WHERE resource_id <> ALL ($1::uuid[])", l.removed).Scan(&backups, &good)
	if err != nil || backups != good || backups < 3 {
		t.Errorf("%d backups, %d of them verified: %v", backups, good, err)
	}
	b.nothingOpen(t)
	if odd, whole := b.unlisted(t), b.heads(t); len(odd) > 0 || len(whole) != backups {
		t.Errorf("%d backups, unlisted archives %v, of %v", backups, odd, whole)
	}
	var removed int
	if err := own.QueryRow(ctx, "SELECT count(*) FROM resources WHERE state = 'deprovisioned' AND id = ANY ($1::uuid[])", l.removed).Scan(&removed); err != nil || removed != len(l.removed) || removed == 0 {
		t.Errorf("%d add-ons were removed, %d are: %v", len(l.removed), removed, err)
	}
	var state string
	var attempt int
	if err := own.QueryRow(ctx, "SELECT state, attempt FROM river.river_job WHERE kind = 'of_the_next_release'").Scan(&state, &attempt); err != nil || state != "available" || attempt != 0 {
		t.Errorf("a job of the next release is %s after %d attempts: %v", state, attempt, err)
	}
}
