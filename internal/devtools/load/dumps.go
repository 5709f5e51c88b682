package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/herokusim"
)

const (
	each    = 4 // databases of a resource: as many of one may run at a time
	america = "amazon-web-services::us-east-1"
)

// dumps measures real workers on real tiny databases.
func (l *load) dumps(ctx context.Context) error {
	l.say("%d real databases, %d to a resource", l.real, each)
	if err := l.customers(ctx); err != nil {
		return err
	}
	// The first backups of all, while the resources are made ready and their databases found.
	worker, err := l.worker("CHECK_EVERY=10s", "TICK_EVERY=2s")
	if err != nil {
		return err
	}
	if err := l.warm(ctx, int64(l.real), 10*time.Minute); err != nil {
		return err
	}
	if err := worker.Stop(); err != nil {
		return err
	}
	for _, n := range l.processes {
		if err := l.dump(ctx, n); err != nil {
			return fmt.Errorf("%d processes: %w", n, err)
		}
	}
	return nil
}

func (l *load) worker(settings ...string) (*stack.Process, error) {
	return l.Spawn("worker", append([]string{"POOLS=us", "PER_SERVER=1000", "WORKER_METRICS=", "SWEEP_EVERY=1h", "EXPIRE_EVERY=1h"}, settings...)...)
}

// dump backs all of them up by a number of processes.
func (l *load) dump(ctx context.Context, processes int) error {
	if err := l.due(ctx, "enqueue", america); err != nil {
		return err
	}
	start, err := l.counts.look(ctx)
	if err != nil {
		return err
	}
	var workers []*stack.Process
	for range processes {
		w, err := l.worker("CHECK_EVERY=24h", "TICK_EVERY=1h")
		if err != nil {
			return err
		}
		workers = append(workers, w)
	}
	if err := l.warm(ctx, start.backups+int64(2*processes), time.Minute); err != nil { // they are all up, more or less
		return err
	}
	from, err := l.counts.look(ctx)
	if err == nil {
		_, err = l.until(ctx, start.backups+int64(l.real)*95/100, l.window)
	}
	if err != nil {
		return err
	}
	to, err := l.counts.look(ctx)
	if err != nil {
		return err
	}
	for _, w := range workers {
		if err := w.Stop(); err != nil {
			return err
		}
	}
	return l.tell("real pg_dump", processes, to.since(from, to.backups-from.backups))
}

// customers are add-ons on Helper Apps, each with the credentials of four databases of its own.
func (l *load) customers(ctx context.Context) error {
	if err := l.FillWith(ctx, "CREATE TABLE orders (id bigint PRIMARY KEY, note text)", "INSERT INTO orders SELECT g, md5(g::text) FROM generate_series(1, 500) g"); err != nil {
		return err
	}
	host, port := l.Customer.Addr()
	for i := range l.real {
		app, name := fmt.Sprint("tiny-", i/each), fmt.Sprint("tiny_", i)
		if i%each == 0 {
			l.Sim.CreateApp(app)
			for path, body := range map[string]string{"addons": `{"plan":{"name":"remora-backup:great-white"}}`, "collaborators": `{"user":"` + stack.Service + `"}`} {
				if err := l.post(ctx, "/apps/"+app+"/"+path, body); err != nil {
					return err
				}
			}
		}
		if err := stack.Exec(ctx, l.Customer.SuperuserURL("postgres"), "CREATE DATABASE "+name+" TEMPLATE shop OWNER "+l.Owner); err != nil {
			return err
		}
		err := l.Sim.AddDatabase(herokusim.Database{
			Name: "postgresql-" + name, App: stack.ShopApp, AdminURL: l.Customer.SuperuserURL(name), Owner: l.Owner, Password: l.Password, DBName: name, Host: host, Port: port,
		})
		if err == nil {
			err = l.post(ctx, "/postgres/v0/databases/postgresql-"+name+"/credentials", `{"name":"reader_`+name+`"}`)
		}
		if err == nil {
			err = stack.Exec(ctx, l.OwnerURL(name), "GRANT USAGE ON SCHEMA public TO reader_"+name, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader_"+name)
		}
		if err == nil {
			err = l.post(ctx, "/addon-attachments", fmt.Sprintf(`{"addon":{"name":"postgresql-%s"},"app":{"name":%q},"namespace":"credential:reader_%s"}`, name, app, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// post is one of the customer's calls of the Platform API.
func (l *load) post(ctx context.Context, path, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.SimURL+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer demo-api-key")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%s: %s %s", path, resp.Status, said)
	}
	return err
}
