package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/partnerapi"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// herd makes all schedules due at one instant, while Heroku goes on calling the Partner API and workers make the backups. The
// scheduler and the workers are processes of their own; the web process is this one.
type herd struct {
	url       string
	schedules int
	rate      int // calls of the Partner API a second
	out       io.Writer

	store *postgres.Store
	web   *httptest.Server
	ids   []string // of resources
}

// figures is what was measured.
type figures struct {
	Enqueued, Tick time.Duration
	During, After  []time.Duration // how long calls took: while the tick lasted, and while workers worked
	Dumped         int
}

// What was promised of a midnight on two cores. A time is printed beside it and fails nothing: what else a machine does is in it too.
const (
	goalEnqueued = 30 * time.Second
	goalTick     = 5 * time.Second
	goalCall     = 100 * time.Millisecond // of 99 calls in 100
)

// beside is a time and its goal.
func beside(d, goal time.Duration) string {
	if d > goal {
		return fmt.Sprintf("%s, over the goal of %s", ms(d), goal)
	}
	return fmt.Sprintf("%s (goal %s)", ms(d), goal)
}

func (h *herd) run(ctx context.Context) (f figures, err error) {
	if h.store, err = open(ctx, h.url, 8, time.Now); err != nil {
		return f, err
	}
	defer h.store.Pool.Close()
	at := time.Now().UTC().Truncate(time.Second)
	daily := remora.Rule{Kind: remora.RuleDaily, Minute: at.Hour()*60 + at.Minute(), Zone: "UTC"}
	hourly := remora.Rule{Kind: remora.RuleCron, Cron: fmt.Sprint(at.Minute(), " * * * *")}
	err = fill(ctx, h.store.Pool, h.schedules, at.Truncate(time.Minute).Add(-time.Minute), func(i int) remora.Rule {
		if i%2 == 0 {
			return daily
		}
		return hourly.In(zones[i%4]) // whose clocks all show the same minute
	})
	if err == nil {
		err = vacuum(ctx, h.store.Pool)
	}
	if err == nil {
		err = h.serve(ctx)
	}
	if err != nil {
		return f, err
	}
	defer h.web.Close()
	ticker, workers := &process{role: scheduler, url: h.url}, &process{role: dumper, url: h.url}
	for _, p := range []*process{ticker, workers} {
		if err := p.start(ctx); err != nil {
			return f, err
		}
		defer p.kill()
	}
	if err := ticker.ask(at.Add(-24*time.Hour), ""); err != nil { // a tick without anything due, so that it is up
		return f, err
	}
	if n, _, err := ticker.answer(); err != nil || n != 0 {
		return f, fmt.Errorf("%d were due too early: %w", n, err)
	}
	if err := h.measure(ctx, &f, ticker); err != nil {
		return f, err
	}
	h.report(f)
	return f, nil
}

// measure ticks once, with calls from before it begins until workers have had some time for the backups.
func (h *herd) measure(ctx context.Context, f *figures, ticker *process) error {
	calls := &caller{herd: h}
	calls.start(ctx)
	begun := time.Now()
	err := ticker.ask(begun, "")
	if err == nil {
		_, f.Tick, err = ticker.answer()
	}
	if err == nil {
		f.Enqueued, err = time.Since(begun), h.enqueued(ctx)
	}
	during := calls.so()
	for err == nil && f.Dumped < h.schedules && time.Since(begun) < 30*time.Second {
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case <-time.After(100 * time.Millisecond):
			err = asService(ctx, h.store.Pool, func(tx pgx.Tx) error {
				return tx.QueryRow(ctx, "SELECT count(*) FROM occurrences WHERE outcome = 'succeeded'").Scan(&f.Dumped)
			})
		}
	}
	all, failed := calls.stop()
	f.During, f.After = all[:during], all[during:]
	return errors.Join(err, failed)
}

// enqueued checks that each schedule has one occurrence, one backup and one job.
func (h *herd) enqueued(ctx context.Context) error {
	return asService(ctx, h.store.Pool, func(tx pgx.Tx) error {
		var occurrences, backups, jobs int
		err := tx.QueryRow(ctx, `SELECT (SELECT count(*) FROM occurrences), (SELECT count(*) FROM backups),
			(SELECT count(*) FROM river.river_job WHERE kind = 'run_backup')`).Scan(&occurrences, &backups, &jobs)
		if err == nil && (occurrences != h.schedules || backups != h.schedules || jobs < h.schedules) { // busy ones come back as the same job
			err = fmt.Errorf("%d occurrences, %d backups, %d jobs of %d schedules", occurrences, backups, jobs, h.schedules)
		}
		return err
	})
}

func (h *herd) report(f figures) {
	say(h.out, "%d schedules due at one instant, %d calls of the Partner API a second", h.schedules, h.rate)
	say(h.out, "  enqueued after %s; the tick took %s", beside(f.Enqueued, goalEnqueued), beside(f.Tick, goalTick))
	for _, x := range []struct {
		when string
		took []time.Duration
	}{{"during the tick", f.During}, {"while workers made " + fmt.Sprint(f.Dumped) + " backups", f.After}} {
		say(h.out, "  Partner API %s: %d calls, median %s, p99 %s, slowest %s", x.when, len(x.took), ms(quantile(x.took, 0.5)), beside(quantile(x.took, 0.99), goalCall), ms(quantile(x.took, 1)))
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

// quantile of durations; 0 of none.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	return all[min(len(all)-1, int(q*float64(len(all))))]
}

const password = "partner-password"

// serve is the web process's Partner API.
func (h *herd) serve(ctx context.Context) error {
	log := slog.New(slog.DiscardHandler)
	api, err := partnerapi.New(partnerapi.Config{
		Store: h.store, ID: "remora-backup", Password: redact.New(password), SSOSalt: redact.New("salt"), Home: "/dashboard", Now: time.Now, Log: log,
		NewKey: func() (redact.Secret, string, error) { return redact.New("key"), "age1", nil },
	})
	if err != nil {
		return err
	}
	server := httpserver.New(httpserver.Config{Log: log})
	api.Routes(server.Mux())
	h.web = httptest.NewServer(server.Mux())
	return asService(ctx, h.store.Pool, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, "SELECT id::text FROM resources")
		h.ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
}

// caller is Heroku: half of its calls provision, half change the plan of somebody whose backups are due. It calls at its rate
// whether or not it was answered.
type caller struct {
	herd *herd
	quit chan struct{}
	wg   sync.WaitGroup
	mu   sync.Mutex
	took []time.Duration
	errs []error
}

func (c *caller) start(ctx context.Context) {
	c.quit = make(chan struct{})
	c.wg.Go(func() {
		every := time.NewTicker(time.Second / time.Duration(c.herd.rate))
		defer every.Stop()
		for i := 0; ; i++ {
			select {
			case <-c.quit:
				return
			case <-every.C:
				c.wg.Go(func() { c.call(ctx, i) })
			}
		}
	})
}

func (c *caller) call(ctx context.Context, i int) {
	method, path, body := http.MethodPut, "/heroku/resources/"+c.herd.ids[i*7%len(c.herd.ids)], `{"plan":"great-white"}`
	if i%2 == 0 {
		method, path = http.MethodPost, "/heroku/resources"
		body = fmt.Sprintf(`{"uuid":%q,"name":"remora-backup-x","plan":"mako","region":"us","oauth_grant":{"code":"c","type":"authorization_code","expires_at":"2126-05-01T10:05:00-07:00"}}`, remora.NewID[remora.ResourceID]())
	}
	req, err := http.NewRequestWithContext(ctx, method, c.herd.web.URL+path, strings.NewReader(body))
	if err == nil {
		req.SetBasicAuth("remora-backup", password)
		begun := time.Now()
		var resp *http.Response
		if resp, err = c.herd.web.Client().Do(req); err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close() // it was read
			if resp.StatusCode >= 300 {
				err = fmt.Errorf("%s %s: %s", method, path, resp.Status)
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.took = append(c.took, time.Since(begun))
	}
	if err != nil {
		c.errs = append(c.errs, err)
	}
}

// so is how many calls have been answered so far.
func (c *caller) so() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.took)
}

func (c *caller) stop() ([]time.Duration, error) {
	close(c.quit)
	c.wg.Wait()
	return c.took, errors.Join(c.errs...)
}

// dumperMain works the backups' queue as a worker process does, with dumps that take no time.
func dumperMain(ctx context.Context, url string, in io.Reader) error {
	store, err := open(ctx, url, 12, time.Now)
	if err != nil {
		return err
	}
	defer store.Pool.Close()
	list := river.NewWorkers()
	river.AddWorker(list, &fakeDump{store: store})
	client, err := river.NewClient(riverpgxv5.New(store.Pool), &river.Config{
		Schema: postgres.RiverSchema, Workers: list, Logger: slog.New(slog.DiscardHandler), LeaderElectionDisabled: true,
		Queues: map[string]river.QueueConfig{jobargs.QueueBackups: {MaxWorkers: 16}},
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	return client.Stop(ctx)
}

type fakeDump struct {
	river.WorkerDefaults[jobargs.RunBackup]
	store *postgres.Store
}

// Work implements river.Worker.
func (w *fakeDump) Work(ctx context.Context, job *river.Job[jobargs.RunBackup]) error {
	c, err := w.store.ClaimBackup(ctx, job.Args.Backup, dumper)
	switch {
	case errors.Is(err, postgres.ErrBusy):
		return river.JobSnooze(time.Second)
	case errors.Is(err, postgres.ErrNothingToDo):
		return nil
	case err != nil:
		return err
	}
	return w.store.KeepBackup(ctx, c, remora.Kept{Tables: 1, PlainSize: 1, Objects: []remora.Object{{Name: "head", Size: 1, SHA256: []byte{1}}}})
}
