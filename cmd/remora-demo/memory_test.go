package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/herokusim"
	"github.com/remora-backup/remora/internal/logtest"
	"github.com/remora-backup/remora/internal/remora"
)

// memoryMB is the smaller archive's size; the larger has ten times as much. make memory asks for 100.
var memoryMB = flag.Int("memory-mb", 15, "megabytes of the smaller archive in the memory test")

// What one large backup may take of a worker's memory, without its children, in MiB. What it takes is the process's own pages, 25 to
// 30 MiB as the store is quick or slow to take the parts. In use (VmHWM) is besides them nearly all of the program's own file,
// some 30 MiB, which the kernel maps by and by around what runs, has once for all processes, and drops when it needs to: no
// bound is set to that, but that it does not grow with the database.
const (
	mostOwn   = 36
	mostShare = 48 // its own, and its part of pages that others use too (PSS); of many small ones as well
)

// unraced is the product's processes without the race detector, whose memory is not what is measured.
func unraced(t *testing.T) string {
	t.Helper()
	program, err := filepath.Abs(filepath.Join("..", "..", "bin", "remora-demo"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatal("there is no bin/remora-demo: make bin/remora-demo (make test does)")
	}
	return program
}

// noise makes a table of hashes in base64, of which no compressor leaves less than three quarters. What is beyond
// the first 64 MB repeats them, which is farther away than any compressor here remembers.
func noise(table string, mb int) []string {
	const row = 1024
	first := min(mb, 64) * 1_000_000 / row
	out := []string{fmt.Sprintf(`CREATE UNLOGGED TABLE %s AS SELECT g AS id,
		(SELECT translate(string_agg(encode(sha512(int8send(g * 16::bigint + piece)), 'base64'), ''), E'\n=', '') FROM generate_series(1, 16) piece) AS bytes
		FROM generate_series(1, %d) g`, table, first)}
	for have, want := first, mb*1_000_000/row; have > 0 && have < want; have *= 2 {
		out = append(out, fmt.Sprintf(`INSERT INTO %s SELECT * FROM %[1]s LIMIT %d`, table, want-have))
	}
	return out
}

// The worker's peak memory does not grow with the database, on data that does not compress, and is within its bounds.
func TestMemoryDoesNotGrow(t *testing.T) {
	t.Parallel()
	var all [2]used
	for i, mb := range []int{*memoryMB, 10 * *memoryMB} {
		b := start(t, 100, unraced(t))
		if err := stack.Exec(t.Context(), b.OwnerURL("shop"), noise("sales.noise", mb)...); err != nil {
			t.Fatal(err)
		}
		b.longer = time.Duration(mb) * time.Second / 5
		most := watch(t, b.worker)
		b.connect(t)
		got := b.verified(t, "")
		u := most()
		if got.PlainSize < int64(mb)*900_000 {
			t.Fatalf("the archive has %d bytes, which is too few for %d MB", got.PlainSize, mb)
		}
		all[i] = u
		t.Logf("%4d MB archive: %s", got.PlainSize/1_000_000, u)
		if u.own > mostOwn*1024 || u.share > mostShare*1024 {
			t.Errorf("%s: the bounds are %d MiB of its own and %d as its share", u, mostOwn, mostShare)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if float64(all[1].inUse) > 1.2*float64(all[0].inUse) {
		t.Errorf("%s, and with ten times as much data %s", all[0], all[1])
	}
}

// Many backups at a time share one worker's memory: they all hold their connection and then run at once.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ databases, mb, most int }{ // most: MiB
		"32 tiny":    {32, 0, mostShare},
		"8 of 20 MB": {8, 20, 110},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := many(t, c.databases, append([]string{"CREATE TABLE held (id int)"}, noise("noise", c.mb)...))
			b.all(t, func(remora.Backup) bool { return true }) // the first of each, as they are found
			customer, err := pgx.Connect(t.Context(), b.Customer.SuperuserURL("shop"))
			if err != nil {
				t.Fatal(err)
			}
			defer customer.Close(context.Background())
			// A machine with much else to do may not start so many before the first give way; then all are asked for anew, three times in all.
			asked := map[remora.BackupID]bool{}
			for waiting, try := 0, 1; waiting < c.databases; try++ {
				if try > 3 {
					t.Fatalf("%d of %d wait at a time", waiting, c.databases)
				}
				if try > 1 {
					if _, err := customer.Exec(t.Context(), "COMMIT"); err != nil {
						t.Fatal(err)
					}
					b.all(t, func(x remora.Backup) bool { return asked[x.ID] })
				}
				if _, err := customer.Exec(t.Context(), "BEGIN; LOCK TABLE held"); err != nil {
					t.Fatal(err)
				}
				clear(asked)
				for id, databases := range b.databases(t) {
					for _, d := range databases {
						backup, err := b.Store.RequestBackup(t.Context(), id, d, "p")
						if err != nil {
							t.Fatal(err)
						}
						asked[backup] = true
					}
				}
				for began := time.Now(); waiting < c.databases && time.Since(began) < time.Minute; {
					if err := customer.QueryRow(t.Context(), "SELECT count(*), pg_sleep(0.05)::text FROM pg_locks WHERE NOT granted AND relation = 'held'::regclass").Scan(&waiting, new(string)); err != nil {
						t.Fatal(err)
					}
				}
			}
			most := watch(t, b.worker)
			if _, err := customer.Exec(t.Context(), "COMMIT"); err != nil {
				t.Fatal(err)
			}
			b.all(t, func(x remora.Backup) bool { return asked[x.ID] })
			u := most()
			t.Logf("%s at a time: %s", name, u)
			if u.share > c.most*1024 {
				t.Errorf("%s, of a share of at most %d MiB", u, c.most)
			}
		})
	}
}

// crowd is a service with many resources, whose databases are one and the same.
type crowd struct {
	*stack.Stack
	worker *stack.Process
	ids    []remora.ResourceID
	each   int // databases of a resource
}

func many(t *testing.T, databases int, contents []string) *crowd {
	t.Helper()
	ctx := t.Context()
	const each = 4 // as many of one resource may run at a time
	logs := &logtest.Buffer{}
	s, err := stack.Start(ctx, stack.Config{Root: filepath.Join("..", ".."), Program: []string{unraced(t)}, Logs: logs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(logs.String())
		}
	})
	if err := s.FillWith(ctx, contents...); err != nil {
		t.Fatal(err)
	}
	web, err := s.Spawn("web")
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{Stack: s, each: each}
	if c.worker, err = s.Spawn("worker", fmt.Sprintf("CONCURRENCY=%d", databases), fmt.Sprintf("PER_SERVER=%d", databases)); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitWeb(ctx, web); err != nil {
		t.Fatal(err)
	}
	host, port := s.Customer.Addr()
	for i := range databases / each {
		app := fmt.Sprintf("helper-%d", i)
		s.Sim.CreateApp(app)
		c.post(t, "/apps/"+app+"/addons", `{"plan":{"name":"remora-backup:great-white"}}`)
		c.post(t, "/apps/"+app+"/collaborators", `{"user":"`+stack.Service+`"}`)
		c.ids = append(c.ids, remora.ResourceID(s.Sim.AddonID("remora-backup", app)))
		for j := range each {
			name, role := fmt.Sprintf("postgresql-%d-%d", i, j), fmt.Sprintf("reader_%d_%d", i, j)
			err := s.Sim.AddDatabase(herokusim.Database{
				Name: name, App: stack.ShopApp, AdminURL: s.Customer.SuperuserURL("shop"), Owner: s.Owner, Password: s.Password, DBName: "shop", Host: host, Port: port,
			})
			if err != nil {
				t.Fatal(err)
			}
			c.post(t, "/postgres/v0/databases/"+name+"/credentials", `{"name":"`+role+`"}`)
			if err := stack.Exec(ctx, s.OwnerURL("shop"), "GRANT USAGE ON SCHEMA public TO "+role, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role); err != nil {
				t.Fatal(err)
			}
			c.post(t, "/addon-attachments", fmt.Sprintf(`{"addon":{"name":%q},"app":{"name":%q},"namespace":"credential:%s"}`, name, app, role))
		}
	}
	return c
}

func (c *crowd) post(t *testing.T, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.SimURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer demo-api-key")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if said, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s %s %v", path, resp.Status, said, err)
	}
}

// all waits until as many of the backups meant are verified as there are databases.
func (c *crowd) all(t *testing.T, meant func(remora.Backup) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		good := 0
		for _, id := range c.ids {
			o, err := c.Store.Overview(ctx, id)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range o.Backups {
				if x.State == remora.BackupVerified && meant(x) {
					good++
				}
				if x.State == remora.BackupFailed {
					t.Fatalf("%+v", x)
				}
			}
		}
		if good == c.each*len(c.ids) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d are verified: %v", good, ctx.Err())
		case <-poll.C:
		}
	}
}

func (c *crowd) databases(t *testing.T) map[remora.ResourceID][]remora.DatabaseID {
	t.Helper()
	out := map[remora.ResourceID][]remora.DatabaseID{}
	for _, id := range c.ids {
		o, err := c.Store.Overview(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range o.Databases {
			out[id] = append(out[id], d.ID)
		}
	}
	return out
}

// used is the most memory that a process has had, in KiB.
type used struct {
	inUse int // ever (VmHWM): its own pages and those of files, as of its program, that it has touched
	own   int // its own pages (RssAnon)
	share int // its own, and of those that other processes use too its part (PSS)
}

func (u used) String() string {
	return fmt.Sprintf("peaks of %.1f MiB in use, %.1f MiB of it its own, and of %.1f MiB as its share", float64(u.inUse)/1024, float64(u.own)/1024, float64(u.share)/1024)
}

// watch looks at a process's memory from now on, and returns what ends that and says the most there was.
func watch(t *testing.T, p *stack.Process) (end func() used) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	type result struct {
		used
		err error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		look := time.NewTicker(5 * time.Millisecond)
		defer look.Stop()
		for ctx.Err() == nil && r.err == nil {
			share, err := kib(p, "smaps_rollup", "Pss")
			own, err2 := kib(p, "status", "RssAnon")
			r.share, r.own, r.err = max(r.share, share), max(r.own, own), errors.Join(err, err2)
			<-look.C
		}
		done <- r
	}()
	return func() used {
		t.Helper()
		cancel()
		r := <-done
		n, err := kib(p, "status", "VmHWM")
		if err := errors.Join(r.err, err); err != nil {
			t.Fatal(err)
		}
		r.inUse = n
		return r.used
	}
}

// kib is one line of a file that Linux keeps of a process.
func kib(p *stack.Process, file, name string) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", p.PID(), file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == 3 && words[0] == name+":" {
			return strconv.Atoi(words[1])
		}
	}
	return 0, fmt.Errorf("the process's %s has no %s", file, name)
}
