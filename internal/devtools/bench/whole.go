package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/remora"
)

// whole is what a whole run by a worker costs, from its claim to its record, of a database so small that nothing else
// counts: beside pg_dump -Fc >/dev/null, over one way to the customer's server, in turns.
type whole struct {
	*stack.Stack
	proxy    *faultproxy.TCP
	resource remora.ResourceID
	database remora.DatabaseID
	dump     []string // pg_dump's command line, as the server lies now
}

// wholeLine is one round trip time's, as OUT has it.
type wholeLine struct {
	Set       string             `json:"set"`
	Variant   string             `json:"variant"`
	RoundTrip int                `json:"round_trip_ms"`
	PgDump    float64            `json:"pg_dump_s"`
	Wall      float64            `json:"wall_s"`
	ToPgDump  float64            `json:"to_pg_dump"`
	Lowest    float64            `json:"to_pg_dump_lowest"`
	Highest   float64            `json:"to_pg_dump_highest"`
	Stages    map[string]float64 `json:"stages_s"`
}

func (b *bench) measureWhole(ctx context.Context, file io.Writer) (err error) {
	w, err := b.startWhole(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.proxy.Close(), w.Close()) }()
	fmt.Printf("\nA whole run by a worker, of tiny: wall over that of pg_dump -Fc >/dev/null at the same round trip time, and ms by stage\n")
	// The short ones differ by a tenth and more.
	for _, way := range []struct{ ms, rounds int }{{0, 8 * b.rounds}, {20, 2 * b.rounds}} {
		if err := w.move(way.ms); err != nil {
			return err
		}
		var ratios, walls, dumps []float64
		stages := map[string][]float64{}
		for round := range warmUps + way.rounds {
			start := time.Now()
			if err := w.pgDump(ctx); err != nil {
				return err
			}
			dump := time.Since(start).Seconds()
			took, err := w.backup(ctx)
			if err != nil {
				return err
			}
			if round < warmUps {
				continue
			}
			wall := 0.0
			for stage, s := range took {
				wall += s
				stages[stage] = append(stages[stage], s)
			}
			walls, dumps, ratios = append(walls, wall), append(dumps, dump), append(ratios, wall/dump)
		}
		slices.Sort(ratios)
		l := wholeLine{
			Set: "tiny", Variant: "worker", RoundTrip: way.ms, PgDump: middle(dumps), Wall: middle(walls), ToPgDump: middle(ratios),
			Lowest: ratios[0], Highest: ratios[len(ratios)-1], Stages: map[string]float64{},
		}
		parts := ""
		for _, stage := range []string{"claim", "credential", "server", "dump", "read", "commit", "record"} {
			l.Stages[stage] = middle(stages[stage])
			parts += fmt.Sprintf("  %s %.1f", stage, 1000*l.Stages[stage])
		}
		fmt.Printf("  %2d ms round trip: %.2f [%.2f %.2f] of %.0f ms: %s\n", way.ms, l.ToPgDump, l.Lowest, l.Highest, 1000*l.PgDump, parts)
		if err := json.NewEncoder(file).Encode(l); err != nil {
			return err
		}
	}
	return nil
}

// warmUps is after how many runs of a statement PostgreSQL may keep its plan: a worker that has just started is not what is measured.
// (https://www.postgresql.org/docs/current/sql-prepare.html)
const warmUps = 5

func middle(all []float64) float64 {
	all = slices.Clone(all)
	slices.Sort(all)
	return all[len(all)/2]
}

// startWhole starts the service on this machine and connects a customer's tiny database. The worker's store is the one of all the bench:
// what a store does with what it gets takes no time of a worker's cores.
func (b *bench) startWhole(ctx context.Context) (_ *whole, err error) {
	program, err := filepath.Abs(b.program)
	if err != nil {
		return nil, err
	}
	logs, err := os.Create(filepath.Join(b.dir, "stack.log"))
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, logs.Close)
	s, err := stack.Start(ctx, stack.Config{Root: ".", Program: []string{program}, Logs: logs})
	if err != nil {
		return nil, err
	}
	w := &whole{Stack: s}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := s.FillWith(ctx, statements("tiny", 1)...); err != nil {
		return nil, err
	}
	if w.proxy, err = faultproxy.NewTCP(w.direct()); err != nil {
		return nil, err
	}
	if err := w.move(0); err != nil {
		return nil, err
	}
	web, err := s.Spawn("web")
	if err != nil {
		return nil, err
	}
	if _, err := s.Spawn("worker", "S3_ENDPOINT="+b.near.URL, "SSL_CERT_FILE="+b.certs()); err != nil {
		return nil, err
	}
	if err := s.AwaitWeb(ctx, web); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // a worker that has ended is not waited for
	defer cancel()
	if _, err := s.Connect(ctx, func(_ string, do func() error) error { return do() }); err != nil {
		return nil, err
	}
	first, err := s.Await(ctx, verified, nil)
	w.resource, w.database = remora.ResourceID(s.Sim.AddonID("remora-backup", stack.HelperApp)), first.Database
	return w, err
}

// direct is the customer's server itself.
func (w *whole) direct() string {
	host, port := w.Customer.Addr()
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// move puts the customer's server so many ms away, behind the proxy; where it is none, not even that, which takes time of the cores too.
func (w *whole) move(ms int) error {
	addr := w.direct()
	if ms > 0 {
		addr = w.proxy.Addr
		w.proxy.Delay(time.Duration(ms) * time.Millisecond / 2)
	}
	at, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return err
	}
	w.Sim.MoveDatabase(stack.Addon, w.Customer.SuperuserURL("shop"), "127.0.0.1", at.Port)
	w.dump = []string{
		filepath.Join(w.Customer.BinDir(), "pg_dump"), "-Fc", "-N", "heroku_ext", "-N", "_heroku",
		"-d", fmt.Sprintf("postgres://%s:%s@%s/shop?sslmode=require", w.Owner, w.Password, addr),
	}
	return nil
}

func verified(x remora.Backup) bool { return x.State == remora.BackupVerified }

func (w *whole) pgDump(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, w.dump[0], w.dump[1:]...) //nolint:gosec // ours
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pg_dump: %w: %s", err, said.String())
	}
	return nil
}

// backup makes one and returns its stages, in s.
func (w *whole) backup(ctx context.Context) (map[string]float64, error) {
	before, err := w.stages(ctx)
	if err != nil {
		return nil, err
	}
	id, err := w.Store.RequestBackup(ctx, w.resource, w.database, "bench")
	if err != nil {
		return nil, err
	}
	poll := time.NewTicker(100 * time.Millisecond) // whoever looks takes time of the cores that are measured
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-poll.C:
		}
		made, err := w.Store.Backup(ctx, w.resource, id)
		if err != nil {
			return nil, err
		}
		if made.State != remora.BackupVerified {
			continue
		}
		after, err := w.stages(ctx)
		if err != nil {
			return nil, err
		}
		if after["record"] > before["record"] { // it is measured right after it is recorded
			for stage := range after {
				after[stage] -= before[stage]
			}
			return after, nil
		}
	}
}

var stageSum = regexp.MustCompile(`(?m)^remora_run_stage_seconds_sum\{stage="(\w+)"\} (\S+)$`)

func (w *whole) stages(ctx context.Context) (map[string]float64, error) {
	text, err := w.Measures(ctx, w.Metrics)
	if err != nil {
		return nil, err
	}
	sums := map[string]float64{}
	for _, m := range stageSum.FindAllStringSubmatch(text, -1) {
		if sums[m[1]], err = strconv.ParseFloat(strings.TrimSpace(m[2]), 64); err != nil {
			return nil, err
		}
	}
	return sums, nil
}
