package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/devtools/faultproxy"
	"github.com/remora-backup/remora/internal/devtools/localpg"
	"github.com/remora-backup/remora/internal/devtools/nullstore"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/pgarchive"
)

type bench struct {
	rounds   int
	scale    float64
	sets     []string
	variants []string // empty: all
	out      string
	uploader string
	program  string
	profiles string // a directory that keeps the CPU profiles; empty: none are kept

	dir     string
	pg      *localpg.Cluster
	near    *nullstore.Server
	far     *nullstore.Server
	link    *faultproxy.TCP // to pg
	closers []func() error
}

// variant is one way to make a backup.
type variant struct {
	name  string
	note  string
	needs string   // a program
	only  []string // sets
	link  bool     // the database lies behind a link
	run   func(ctx context.Context, b *bench, url string) (took, error)
}

const (
	limit     = "limit"
	linkLimit = "limit_link"
	reference = "pg_dump_upload"
	standard  = "ours" // what a worker does
)

// linked are the sets that are measured through a link too: what compresses well, and what does not.
var linked = []string{"json", "binary"}

// linkRate is the link's, in bytes a second.
const linkRate = 100_000_000

var variants = []variant{
	{name: limit, note: "pg_dump -Fc -Z0 >/dev/null: the most one connection gives", run: shell("pg_dump -Fc -Z0 -d $URL")},
	{name: reference, note: "pg_dump -Fc | the AWS SDK's uploader", run: shell("pg_dump -Fc -d $URL", "$UPLOADER")},
	{name: standard, note: "a worker's backup as it is by default on this machine: counted, digested, sealed, read by stock pg_restore, LEVEL", run: pipe(task{Level: pgarchive.DefaultLevel()})},
	{name: "ours_unread", note: "ours, but not read by pg_restore: what reading adds", run: pipe(task{Level: pgarchive.DefaultLevel(), Unread: true})},
	{name: "ours_level_1", note: "ours, but at level 1, as on a single core", run: pipe(task{Level: pgarchive.Fast})},
	{name: "ours_level_1_unread", note: "ours, but at level 1 and not read by pg_restore: the pipeline of the laboratory's goals", run: pipe(task{Level: pgarchive.Fast, Unread: true})},
	{name: "ours_far", note: "ours to a store 60 ms away that takes 50 MB/s a connection", only: []string{"json"}, run: pipe(task{Level: pgarchive.DefaultLevel(), Store: "far"})},
	{name: linkLimit, note: "limit, with the database behind a link of 100 MB/s, which no core of ours serves", only: linked, link: true, run: shell("pg_dump -Fc -Z0 -d $URL")},
	{name: "ours_link", note: "ours, with the database behind that link", only: linked, link: true, run: pipe(task{Level: pgarchive.DefaultLevel()})},
	{name: "ours_link_unread", note: "and not read by pg_restore: what reading adds there", only: linked, link: true, run: pipe(task{Level: pgarchive.DefaultLevel(), Unread: true})},
	{name: "zstd", note: "pg_dump -Fc -Z0 | zstd -T0 | the AWS SDK's uploader", needs: "zstd", run: shell("pg_dump -Fc -Z0 -d $URL", "zstd -q -T0 -c", "$UPLOADER")},
	{name: "rclone", note: "pg_dump -Fc | rclone rcat", needs: "rclone", run: shell("pg_dump -Fc -d $URL", "rclone rcat --s3-no-check-bucket --retries 1 s:bench/rclone")},
	{name: "pg_dump", note: "pg_dump -Fc >/dev/null", only: []string{"tiny"}, run: shell("pg_dump -Fc -d $URL")},
}

func (b *bench) close() {
	for _, c := range slices.Backward(b.closers) {
		if err := c(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
}

func (b *bench) prepare(ctx context.Context) (err error) {
	if b.uploader, err = filepath.Abs(b.uploader); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "remora-bench-"); err != nil {
		return err
	}
	b.closers = append(b.closers, func() error { return os.RemoveAll(b.dir) })
	if b.pg, err = localpg.Start(ctx, localpg.Config{TLS: true, Settings: map[string]string{"shared_buffers": "1GB", "max_wal_size": "8GB", "max_locks_per_transaction": "256"}}); err != nil {
		return err
	}
	b.closers = append(b.closers, b.pg.Stop)
	host, port := b.pg.Addr()
	if b.link, err = faultproxy.NewTCP(net.JoinHostPort(host, strconv.Itoa(port))); err != nil {
		return err
	}
	b.closers = append(b.closers, b.link.Close)
	b.link.Rate(linkRate)
	for _, s := range []struct {
		server **nullstore.Server
		cfg    nullstore.Config
	}{{&b.near, nullstore.Config{}}, {&b.far, nullstore.Config{Latency: 60 * time.Millisecond, Rate: 50_000_000}}} {
		if *s.server, err = nullstore.Start(s.cfg); err != nil {
			return err
		}
		b.closers = append(b.closers, (*s.server).Close)
	}
	if err := os.WriteFile(b.certs(), slices.Concat(b.near.Cert, b.far.Cert), 0o600); err != nil {
		return err
	}
	for _, set := range b.sets {
		if !slices.Contains(setNames, set) {
			return fmt.Errorf("there is no data set %q: %s", set, strings.Join(setNames, ", "))
		}
		start := time.Now()
		if err := b.fill(ctx, set); err != nil {
			return fmt.Errorf("make %s: %w", set, err)
		}
		fmt.Fprintf(os.Stderr, "made %s in %.0f s\n", set, time.Since(start).Seconds())
	}
	return nil
}

func (b *bench) certs() string { return filepath.Join(b.dir, "certs.pem") }

func (b *bench) fill(ctx context.Context, set string) error {
	if err := stack.Exec(ctx, b.pg.SuperuserURL("postgres"), `CREATE DATABASE "`+set+`"`); err != nil {
		return err
	}
	return stack.Exec(ctx, b.pg.SuperuserURL(set), append(statements(set, b.scale), "VACUUM ANALYZE", "CHECKPOINT")...)
}

// env is what every variant gets.
func (b *bench) env(url string, more ...string) []string {
	return append([]string{
		"PATH=" + b.pg.BinDir() + ":" + os.Getenv("PATH"), "HOME=" + b.dir, "URL=" + url, "UPLOADER=" + b.uploader, "S3_ENDPOINT=" + b.near.URL,
		"SSL_CERT_FILE=" + b.certs(), "RCLONE_CONFIG_S_TYPE=s3", "RCLONE_CONFIG_S_PROVIDER=Other", "RCLONE_CONFIG_S_ENDPOINT=" + b.near.URL,
		"RCLONE_CONFIG_S_ACCESS_KEY_ID=bench", "RCLONE_CONFIG_S_SECRET_ACCESS_KEY=bench",
	}, more...)
}

// shell runs programs that read from each other, and asks of each, when it has ended, what it took (wait4).
func shell(programs ...string) func(context.Context, *bench, string) (took, error) {
	return func(ctx context.Context, b *bench, url string) (took, error) {
		var said bytes.Buffer
		env := b.env(url)
		var all []*exec.Cmd
		var ends []*os.File
		for i, program := range programs {
			words := strings.Fields(program)
			for k, w := range words {
				words[k] = os.Expand(w, func(name string) string { return map[string]string{"URL": url, "UPLOADER": b.uploader}[name] })
			}
			if own := filepath.Join(b.pg.BinDir(), words[0]); words[0] == "pg_dump" {
				words[0] = own
			}
			cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // our own
			cmd.Env, cmd.Stderr = env, &said
			if i > 0 {
				r, w, err := os.Pipe()
				if err != nil {
					return took{}, err
				}
				all[i-1].Stdout, cmd.Stdin = w, r
				ends = append(ends, r, w)
			}
			all = append(all, cmd)
		}
		start := time.Now()
		var errs []error
		for _, cmd := range all {
			if err := cmd.Start(); err != nil {
				errs = append(errs, err)
				break
			}
		}
		for _, f := range ends { // the programs have their own
			errs = append(errs, f.Close())
		}
		watched := watch(all...)
		t := took{CPU: map[string]float64{}}
		for _, cmd := range all {
			if cmd.Process == nil {
				continue
			}
			errs = append(errs, cmd.Wait())
			t.CPU[filepath.Base(cmd.Path)] += (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		}
		t.Wall, t.RSS = time.Since(start).Seconds(), watched()
		if err := errors.Join(errs...); err != nil {
			return took{}, fmt.Errorf("%w: %s", err, said.String())
		}
		return t, nil
	}
}

// pipe runs our pipeline in a process of its own.
func pipe(t task) func(context.Context, *bench, string) (took, error) {
	return func(ctx context.Context, b *bench, url string) (took, error) { return b.pipe(ctx, t, url) }
}

func (b *bench) pipe(ctx context.Context, t task, url string) (r took, err error) {
	t.URL, t.BinDir, t.Store = url, b.pg.BinDir(), map[string]string{"": b.near.URL, "far": b.far.URL}[t.Store]
	text, err := json.Marshal(t)
	if err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, "ours") //nolint:gosec // ourselves
	cmd.Env = b.env(url, "BENCH_TASK="+string(text))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Start(); err != nil {
		return r, err
	}
	watched := watch(cmd)
	err = cmd.Wait()
	rss := watched()
	if err != nil {
		return r, err
	}
	err = json.Unmarshal(out.Bytes(), &r)
	r.RSS = rss
	return r, err
}

// backends is the CPU time of the server's sessions that have ended, in s (proc_pid_stat(5): cutime and cstime).
func (b *bench) backends() (float64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(b.pg.PID()) + "/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks float64
	for _, f := range fields[13:15] {
		n, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return ticks / 100, nil // USER_HZ
}

// ended waits until the server has ended the sessions of a database: only then does it have their CPU time.
func (b *bench) ended(ctx context.Context, db string) error {
	children := fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", b.pg.PID()) // proc_pid_task(5)
	for {
		pids, err := os.ReadFile(children) //nolint:gosec // ours
		if err != nil {
			return err
		}
		busy := false
		for _, pid := range strings.Fields(string(pids)) {
			title, err := os.ReadFile("/proc/" + pid + "/cmdline") // none any more where it has ended, but is not counted yet
			busy = busy || err == nil && (len(title) == 0 || bytes.Contains(title, []byte(" "+db+" ")))
		}
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func (b *bench) chosen(set string) []variant {
	var out []variant
	for _, v := range variants {
		wanted := len(b.variants) == 0 || slices.Contains(b.variants, v.name) || v.name == limit || v.name == reference || v.name == linkLimit && slices.ContainsFunc(b.variants, func(name string) bool { return strings.HasPrefix(name, "ours_link") })
		if !wanted || v.only != nil && !slices.Contains(v.only, set) {
			continue
		}
		if v.needs != "" {
			if _, err := exec.LookPath(v.needs); err != nil {
				fmt.Fprintf(os.Stderr, "%s is left out: there is no %s on this machine\n", v.name, v.needs)
				continue
			}
		}
		out = append(out, v)
	}
	return out
}

func (b *bench) measure(ctx context.Context) error {
	file := io.Discard
	if b.out != "" {
		f, err := os.Create(b.out)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // every line was written or is an error
		file = f
	}
	fmt.Printf("%d cores, %s, PostgreSQL in %s, %d rounds, scale %g\nMedians; ratios are of runs in one round, lowest and highest in brackets.\n\n",
		runtime.NumCPU(), runtime.Version(), b.pg.BinDir(), b.rounds, b.scale)
	for _, v := range variants {
		note := strings.Replace(v.note, "LEVEL", fmt.Sprintf("compressed at level %d", pgarchive.DefaultLevel()), 1)
		fmt.Printf("  %-20s %s\n", v.name, note)
	}
	for _, set := range b.sets {
		if err := b.checkCounts(ctx, set); err != nil {
			return fmt.Errorf("%s: %w", set, err)
		}
		runs, err := b.rotate(ctx, set)
		if err != nil {
			return err
		}
		if err := report(set, b.chosen(set), runs, file); err != nil {
			return err
		}
		if slices.ContainsFunc(b.chosen(set), func(v variant) bool { return v.name == standard }) {
			if err := b.explain(ctx, set, file); err != nil {
				return fmt.Errorf("%s: %w", set, err)
			}
		}
	}
	if slices.Contains(b.sets, "tiny") && (len(b.variants) == 0 || slices.Contains(b.variants, "worker")) {
		return b.measureWhole(ctx, file)
	}
	return nil
}

// rotate runs every variant once a round, each round beginning with another, after one round that only warms up.
func (b *bench) rotate(ctx context.Context, set string) (map[string][]took, error) {
	all := b.chosen(set)
	runs := map[string][]took{}
	for round := range b.rounds + 1 {
		for i := range all {
			v := all[(i+round)%len(all)]
			t, err := b.one(ctx, v, set)
			if err != nil {
				return nil, fmt.Errorf("%s of %s: %w", v.name, set, err)
			}
			if round > 0 {
				runs[v.name] = append(runs[v.name], t)
			}
		}
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", set, round, b.rounds)
	}
	return runs, nil
}

func (b *bench) one(ctx context.Context, v variant, set string) (took, error) {
	before, err := b.backends()
	if err != nil {
		return took{}, err
	}
	b.near.Bytes()
	b.far.Bytes()
	url := b.pg.SuperuserURL(set)
	if v.link {
		host, port := b.pg.Addr()
		url = strings.Replace(url, net.JoinHostPort(host, strconv.Itoa(port)), b.link.Addr, 1)
	}
	t, err := v.run(ctx, b, url)
	if err != nil {
		return took{}, err
	}
	if err := b.ended(ctx, set); err != nil {
		return took{}, err
	}
	after, err := b.backends()
	t.Server, t.Bytes = after-before, b.near.Bytes()+b.far.Bytes()
	return t, err
}

// line is one variant of one set, as OUT has it.
type line struct {
	Set      string             `json:"set"`
	Variant  string             `json:"variant"`
	Wall     float64            `json:"wall_s"`
	ToLimit  float64            `json:"to_limit"`
	LimitLow float64            `json:"to_limit_lowest"`
	LimitTop float64            `json:"to_limit_highest"`
	ToUpload float64            `json:"to_pgdump_upload"`
	Client   float64            `json:"client_cpu_s"`
	CPUTo    float64            `json:"client_cpu_to_pgdump_upload"`
	CPU      map[string]float64 `json:"client_cpu_s_by_process"`
	Server   float64            `json:"server_cpu_s"`
	RSS      float64            `json:"peak_rss_mib"` // of all but pg_dump and pg_restore; of pg_dump where there is nothing else
	EachRSS  map[string]float64 `json:"peak_rss_mib_by_process"`
	Bytes    int64              `json:"bytes_out"`
	BytesTo  float64            `json:"bytes_to_pgdump_upload"`
}

func wall(t took) float64 { return t.Wall }

// client is the CPU time of all processes but the server and the store.
func client(t took) (sum float64) {
	for _, s := range t.CPU {
		sum += s
	}
	return sum
}

func report(set string, all []variant, runs map[string][]took, file io.Writer) error {
	ratio := func(of, to []took, what func(took) float64) (low, mid, top float64) {
		var r []float64
		for i := range of {
			r = append(r, what(of[i])/what(to[i]))
		}
		slices.Sort(r)
		return r[0], r[len(r)/2], r[len(r)-1]
	}
	fmt.Printf("\n%-8s %-20s %8s  %-18s %9s  %8s %7s  %8s  %9s %6s  %s\n", "set", "variant", "wall s", "/ limit", "/ upload", "client s", "/ upl.", "server s", "bytes out", "/ upl.", "client CPU s and peak MiB by process")
	for _, v := range all {
		r := runs[v.name]
		l := line{
			Set: set, Variant: v.name, Wall: median(r, wall), Client: median(r, client), Server: median(r, func(t took) float64 { return t.Server }),
			CPU: map[string]float64{}, EachRSS: map[string]float64{},
		}
		most := runs[limit]
		if v.link {
			most = runs[linkLimit]
		}
		l.LimitLow, l.ToLimit, l.LimitTop = ratio(r, most, wall)
		_, l.ToUpload, _ = ratio(r, runs[reference], wall)
		_, l.CPUTo, _ = ratio(r, runs[reference], client)
		l.Bytes = int64(median(r, func(t took) float64 { return float64(t.Bytes) }))
		l.BytesTo = float64(l.Bytes) / max(float64(runs[reference][0].Bytes), 1)
		var parts []string
		for _, p := range slices.Sorted(maps.Keys(r[0].CPU)) {
			l.CPU[p] = median(r, func(t took) float64 { return t.CPU[p] })
			l.EachRSS[p] = median(r, func(t took) float64 { return float64(t.RSS[p]) / (1 << 20) })
			if p != "pg_dump" && p != "pg_restore" {
				l.RSS += l.EachRSS[p]
			}
			parts = append(parts, fmt.Sprintf("%s %.2f %.0f", p, l.CPU[p], l.EachRSS[p]))
		}
		if l.RSS == 0 {
			l.RSS = l.EachRSS["pg_dump"]
		}
		fmt.Printf("%-8s %-20s %8.2f  %-18s %9.2f  %8.2f %7.2f  %8.2f  %9s %6.2f  %s\n", set, v.name, l.Wall,
			fmt.Sprintf("%.2f [%.2f %.2f]", l.ToLimit, l.LimitLow, l.LimitTop), l.ToUpload, l.Client, l.CPUTo, l.Server, fmt.Sprintf("%.1f MB", float64(l.Bytes)/1e6), l.BytesTo, strings.Join(parts, ", "))
		text, err := json.Marshal(l)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(file, "%s\n", text); err != nil {
			return err
		}
	}
	return nil
}

func median(all []took, what func(took) float64) float64 {
	values := make([]float64, len(all))
	for i, t := range all {
		values[i] = what(t)
	}
	return middle(values)
}
