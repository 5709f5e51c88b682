package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/devtools/stack"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/objectstore"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/wiring"
)

// The test program is also the product's processes.
func TestMain(m *testing.M) {
	if os.Getenv("REMORA_STACK") != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := wiring.Run(ctx, os.Args[1:], os.Stdout, os.Stderr, dialer.AllowLoopback())
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// For twenty seconds somebody is killed at random moments; what was promised holds afterwards, and each promise, broken by
// hand, is seen to be broken, so that the looking proves something.
func TestKilledAtRandomMoments(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	logs, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logs.Close() })                                                                                                                                             // after it was read
	s := &soak{seconds: 20, seed: uint64(time.Now().UnixNano()), root: filepath.Join("..", "..", ".."), program: []string{self}, logs: logs, out: t.Output(), round: 20 * time.Second} //nolint:gosec // any number will do
	t.Logf("seed %d", s.seed)
	if err := s.start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			_, _ = logs.Seek(0, io.SeekStart)
			all, _ := io.ReadAll(logs)
			t.Logf("%s", all)
		}
	})
	if err := s.soak(ctx); err != nil {
		t.Fatal(err)
	}
	if len(s.kills) < 2 || len(s.restored) == 0 {
		t.Fatalf("killed %s, and %d backups were restored", s.killed(), len(s.restored))
	}
	for _, p := range s.processes[1:] { // nobody mends what is broken now
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	broken := s.breaks(t)
	for _, p := range s.promises() {
		number, _, _ := strings.Cut(p.name, ":")
		if len(broken[number]) == 0 {
			t.Errorf("nobody breaks %s", p.name)
		}
		for how, do := range broken[number] {
			mend := do()
			err := p.look(ctx)
			for end := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(end); err = p.look(ctx) { // an upload takes a moment to be there
			}
			if err == nil {
				t.Errorf("%s: broken by %s, and not seen", p.name, how)
			}
			mend()
			if err := p.look(ctx); err != nil && number != "I1" && !strings.Contains(how, "transaction") {
				t.Errorf("%s: mended, and still: %v", p.name, err)
			}
		}
	}
	leak := exec.Command("cat", "-", s.Sim.ServiceToken())
	in, err := leak.StdinPipe() // whose end it waits for
	if err != nil {
		t.Fatal(err)
	}
	if err := leak.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.leaks(map[string]string{"the process list": s.Processes()}); err == nil {
		t.Error("a token in the process list is not seen")
	}
	_ = in.Close()
	_ = leak.Wait() // there is no file of that name
	for what, look := range map[string]func(context.Context) error{"lives": s.forgotten, "is left": s.gone} {
		if look(ctx) == nil {
			t.Errorf("it is not seen what %s of a customer who has not gone", what)
		}
	}
	if err := s.removed(ctx); err != nil {
		t.Error(err)
	}
}

// breaks are ways to break each promise; each returns how to mend it.
func (s *soak) breaks(t *testing.T) map[string]map[string]func() (mend func()) {
	t.Helper()
	ctx := t.Context()
	rows := func(sql string, args ...any) {
		t.Helper()
		conn, err := pgx.Connect(ctx, s.Own.SuperuserURL("remora"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		tag, err := conn.Exec(ctx, sql, args...)
		if err != nil || tag.RowsAffected() != 1 {
			t.Fatal(tag, err)
		}
	}
	var some archivestore.Ref
	err := s.own(ctx, "SELECT resource_id::text, id::text, epoch FROM backups WHERE state IN ('verified', 'proven') LIMIT 1", func(scan func(...any) error) error {
		return scan(&some.Resource, &some.Backup, &some.Epoch)
	})
	if err != nil {
		t.Fatal(err)
	}
	folder := archivestore.Prefix + string(some.Resource) + "/b/"
	put := func(key string, body []byte) {
		t.Helper()
		if _, err := s.Bucket.PutIfAbsent(ctx, key, body); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(key string) {
		t.Helper()
		if err := s.Bucket.Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	body := fmt.Sprintf("%s%s/%d/body-001", folder, some.Backup, some.Epoch)
	flipped := func() func() {
		whole, err := s.Bucket.Get(ctx, body, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		remove(body)
		wrong := append([]byte{}, whole...)
		wrong[len(wrong)/2] ^= 1
		put(body, wrong)
		delete(s.restored, some.Backup)
		return func() { remove(body); put(body, whole) }
	}
	return map[string]map[string]func() func(){
		"I1": {"a flipped bit": flipped},
		"I2": {
			"an archive that nobody lists": func() func() {
				key := folder + string(remora.NewID[remora.BackupID]()) + "/1/head"
				put(key, []byte("x"))
				return func() { remove(key) }
			},
			"a body that is missing": func() func() {
				whole, err := s.Bucket.Get(ctx, body, 1<<30)
				if err != nil {
					t.Fatal(err)
				}
				remove(body)
				return func() { put(body, whole) }
			},
		},
		"I3": {"an upload": func() func() {
			u := s.Bucket.Create(ctx, folder+string(remora.NewID[remora.BackupID]())+"/1/body-001")
			if _, err := u.Write(make([]byte, 3*objectstore.MinPartSize)); err != nil {
				t.Fatal(err)
			}
			return func() { _ = u.Abort() }
		}},
		"I4": {"a time that is missing": func() func() {
			rows("UPDATE occurrences SET at = at + interval '1 second' WHERE at = (SELECT min(at) FROM occurrences)")
			return func() {
				rows("UPDATE occurrences SET at = at - interval '1 second' WHERE at = (SELECT min(at) FROM occurrences)")
			}
		}, "an outcome that is not the backup's": func() func() {
			const first = " WHERE at = (SELECT min(at) FROM occurrences)"
			var outcome string
			var ended *time.Time
			var backup *string
			err := s.own(ctx, "SELECT outcome, ended_at, backup_id::text FROM occurrences"+first, func(scan func(...any) error) error { return scan(&outcome, &ended, &backup) })
			if err != nil {
				t.Fatal(err)
			}
			rows("UPDATE occurrences SET outcome = 'pending', ended_at = NULL, backup_id = coalesce(backup_id, $1)"+first, some.Backup)
			return func() {
				rows("UPDATE occurrences SET outcome = $1, ended_at = $2, backup_id = $3"+first, outcome, ended, backup)
			}
		}},
		"I5": {"an epoch without a run": func() func() {
			rows("UPDATE backups SET epoch = epoch + 1 WHERE id = $1", some.Backup)
			return func() { rows("UPDATE backups SET epoch = epoch - 1 WHERE id = $1", some.Backup) }
		}},
		"I6": {"a token in a row": func() func() {
			rows("UPDATE backups SET detail = 'refused: ' || $2 WHERE id = $1", some.Backup, s.Sim.ServiceToken())
			return func() { rows("UPDATE backups SET detail = '' WHERE id = $1", some.Backup) }
		}},
		"I7": {"a session": func() func() {
			conn, err := pgx.Connect(ctx, s.Customer.URL(stack.Credential, s.credential(t), "shop"))
			if err != nil {
				t.Fatal(err)
			}
			return func() { _ = conn.Close(ctx) }
		}, "a transaction": func() func() {
			if err := stack.Exec(ctx, s.Customer.SuperuserURL("postgres"), "SELECT pg_current_xact_id()"); err != nil {
				t.Fatal(err)
			}
			return func() { s.nextXID++ }
		}},
		"I8": {"a neighbour who is the customer": func() func() {
			other := s.other
			s.other = s.visitor
			return func() { s.other = other }
		}},
	}
}

func (s *soak) credential(t *testing.T) string {
	t.Helper()
	all := s.Sim.Secrets()["a credential's password"]
	if len(all) != 1 {
		t.Fatal("there is more than one credential")
	}
	return all[0]
}
