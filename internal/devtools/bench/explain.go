package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/pgarchive"
)

// explained is what the worker's CPU time of a set goes into, as OUT has it.
type explained struct {
	Set     string             `json:"set"`
	Variant string             `json:"variant"`
	Worker  float64            `json:"worker_cpu_s"` // of one run, as sampled
	Shares  map[string]float64 `json:"worker_cpu_share"`
}

// parts are what a worker does, each told by the functions that are on the stack; the first that fits counts.
var parts = []struct {
	name string
	all  []string // each of them is in some function's name on the stack
}{
	{"counting and digesting rows", []string{"pgarchive.(*counter)"}},
	{"counting and digesting rows", []string{"pgarchive.(*recoder).send", "sha256"}}, // of large objects
	{"digesting stored objects", []string{"internal/objectstore", "sha256"}},
	{"checksums of parts (CRC32)", []string{"internal/objectstore", "crc32"}},
	{"sending, TLS", []string{"internal/objectstore"}},
	{"sending, TLS", []string{"crypto/tls"}},
	{"sending, TLS", []string{"net/http"}},
	{"sealing (age)", []string{"filippo.io/age"}},
	{"sealing (age)", []string{"internal/seal"}},
	{"compressing", []string{"pgarchive.(*deflater)"}},
	{"compressing", []string{"klauspost/compress"}},
	{"reading pg_dump's pipe", []string{"pgdump.(*Dump).Read"}},
	{"passing it to pg_restore", []string{"pgdump.(*Check).Write"}},
	{"taking apart, putting together", []string{"internal/pgarchive"}},
	{"collecting garbage", []string{"runtime.gcBgMarkWorker"}},
	{"collecting garbage", []string{"runtime.bgsweep"}},
	{"collecting garbage", []string{"runtime.bgscavenge"}},
	{"scheduling, the rest", nil},
}

// fewest samples, at 100 a second, from which shares are told.
const fewest = 30

// explain profiles further runs of ours and tells what each part of the work has of the worker's CPU time.
func (b *bench) explain(ctx context.Context, set string, file io.Writer) error {
	dir := b.profiles
	if dir == "" {
		dir = b.dir
	}
	args := []string{"tool", "pprof", "-traces", "-unit=ms"}
	for range b.rounds {
		t := task{Level: pgarchive.DefaultLevel(), Profile: filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", set, time.Now().UnixNano()))}
		if _, err := b.pipe(ctx, t, b.pg.SuperuserURL(set)); err != nil {
			return err
		}
		args = append(args, t.Profile)
	}
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // ours
	var said bytes.Buffer
	cmd.Env, cmd.Stderr = append(os.Environ(), "PPROF_TMPDIR="+b.dir), &said
	text, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go tool pprof: %w: %s", err, said.String())
	}
	ms, err := shares(string(text))
	if err != nil {
		return err
	}
	total := 0.0
	for _, v := range ms {
		total += v
	}
	e := explained{set, "ours_profile", total / 1000 / float64(b.rounds), map[string]float64{}}
	fmt.Printf("%-8s what the worker's CPU time of ours goes into, from %.0f samples:", set, total/10)
	if total/10 < fewest {
		fmt.Printf(" too few to tell\n")
		return nil
	}
	names := slices.SortedFunc(maps.Keys(ms), func(x, y string) int { return int(ms[y] - ms[x]) })
	for i, name := range names {
		e.Shares[name] = ms[name] / total
		fmt.Printf("%s %s %.1f %%", map[bool]string{true: ",", false: ""}[i > 0], name, 100*e.Shares[name])
	}
	fmt.Println()
	return json.NewEncoder(file).Encode(e)
}

// shares reads what pprof -traces prints: after each rule a stack, its time before its innermost function.
func shares(text string) (map[string]float64, error) {
	ms := map[string]float64{}
	stacks := strings.Split(text, "-----------+")
	for _, stack := range stacks[1:] {
		_, stack, _ = strings.Cut(stack, "\n")
		value, _, _ := strings.Cut(strings.TrimSpace(stack), " ")
		var n float64
		if value == "" {
			continue // after the last rule
		}
		if _, err := fmt.Sscanf(value, "%fms", &n); err != nil {
			return nil, fmt.Errorf("pprof says %q: %w", value, err)
		}
		for _, p := range parts {
			if !slices.ContainsFunc(p.all, func(want string) bool { return !strings.Contains(stack, want) }) {
				ms[p.name] += n
				break
			}
		}
	}
	return ms, nil
}
