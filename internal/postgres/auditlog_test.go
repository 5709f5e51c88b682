package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/pgtest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/migrations"
)

// unknownID is an identifier of nothing.
const unknownID = "00000000-0000-4000-8000-000000000000"

// asService runs a statement as whoever has got hold of the service's own role would.
func (b *bundle) asService(t *testing.T, sql string, args ...any) error {
	t.Helper()
	return pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "SELECT set_config('remora.service', 'on', true)"); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), sql, args...)
		return err
	})
}

// lines are all lines of a resource's log, oldest first.
func (b *bundle) lines(t *testing.T, id remora.ResourceID) (out []remora.AuditLine) {
	t.Helper()
	for l, err := range b.AuditLines(t.Context(), id, remora.AuditLook{}, math.MaxInt64) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

// The log is only added to, whatever the service's role asks for; with a removed add-on it may go.
func TestAuditRowsStay(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	before := b.lines(t, id)
	for _, sql := range []string{
		"UPDATE audit_log SET actor = 'nobody'", "UPDATE audit_log SET at = at", "DELETE FROM audit_log", "TRUNCATE audit_log",
		"UPDATE audit_chains SET length = 0", "DELETE FROM audit_chains", "TRUNCATE audit_chains",
		"INSERT INTO audit_chains (resource_id) SELECT id FROM resources ON CONFLICT (resource_id) DO UPDATE SET length = 0",
	} {
		var refused *pgconn.PgError
		if err := b.asService(t, sql); !errors.As(err, &refused) || refused.Code != "23001" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if after := b.lines(t, id); fmt.Sprint(after) != fmt.Sprint(before) || len(after) < 3 {
		t.Errorf("%v", after)
	}
	if err := b.DeprovisionResource(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"audit_log", "audit_chains"} {
		if err := b.asService(t, "DELETE FROM "+table+" WHERE resource_id = $1", string(id)); err != nil {
			t.Error(err)
		}
	}
}

// A line that was changed, left out, put in or cut off behind the triggers' back is found, and where.
func TestABrokenChainIsFound(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ sql, want string }{
		"nothing":    {"SELECT 1", ""},
		"changed":    {"UPDATE audit_log SET actor = 'somebody else' WHERE seq = 2", "line 2 is not what was written down"},
		"moved":      {"UPDATE audit_log SET at = at + interval '1 microsecond' WHERE seq = 2", "line 2 is not what"},
		"left out":   {"DELETE FROM audit_log WHERE seq = 2", "after line 1 comes line 3"},
		"cut off":    {"DELETE FROM audit_log WHERE seq >= 3", "ends after line 2"},
		"all gone":   {"DELETE FROM audit_log", "ends after line 0"},
		"made anew":  {"UPDATE audit_log SET actor = 'x', hash = remora_audit_hash(previous, resource_id, seq, at, 'x', action, subject) WHERE seq = 2", "line 3 does not follow line 2"},
		"a new end":  {"UPDATE audit_log SET actor = 'x', hash = remora_audit_hash(previous, resource_id, seq, at, 'x', action, subject) WHERE seq = (SELECT max(seq) FROM audit_log)", "its last line is another one"},
		"borrowed":   {"UPDATE audit_log SET hash = decode(repeat('ab', 32), 'hex') WHERE seq = 1", "line 1 is not what"},
		"a new head": {"UPDATE audit_log SET previous = decode(repeat('ab', 32), 'hex') WHERE seq = 1", "line 1 does not follow"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t)
			id := b.resource(t, "db-1")
			for _, sql := range []string{"ALTER TABLE audit_log DISABLE TRIGGER stays", c.sql} {
				if err := b.asService(t, sql); err != nil {
					t.Fatal(err)
				}
			}
			chain, err := b.VerifyAudit(t.Context(), id)
			if c.want == "" && (err != nil || chain.Length != int64(len(b.lines(t, id)))) {
				t.Error(chain, err)
			}
			if c.want != "" && (remora.KindOf(err) != remora.KindConflict || !strings.Contains(remora.Public(err, ""), c.want)) {
				t.Error(err)
			}
		})
	}
}

// Whoever writes to one log at the same time, its chain has one end and no gap; a line of another process, the release
// before this one among them, is put into it too, and cannot say itself where.
func TestAChainIsNotForked(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	keys, err := keyring.Parse(b.ring)
	if err != nil {
		t.Fatal(err)
	}
	other, err := postgres.New(postgres.Config{Pool: pgtest.PoolAt(t, b.pool.Config().ConnString()), Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	id := remora.NewID[remora.ResourceID]()
	if _, err := b.ProvisionResource(t.Context(), provision(id), provision(id).Grant, "age1"); err != nil {
		t.Fatal(err)
	}
	const each = 30
	var all sync.WaitGroup
	for i, s := range []*postgres.Store{b.Store, other, b.Store, other} {
		all.Go(func() {
			for j := range each / 2 {
				if err := s.NoteStranger(t.Context(), id, fmt.Sprint("p", i), fmt.Sprint(j), []string{unknownID}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range each {
		if err := b.asService(t, "INSERT INTO audit_log (resource_id, at, actor, action, subject, seq, hash) VALUES ($1, now(), 'old', 'did', E'Grüße\n', 1, '')", string(id)); err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	if chain, err := b.VerifyAudit(t.Context(), id); err != nil || chain.Length != 1+3*each {
		t.Error(chain, err)
	}
}

// A chain is a resource's own: whoever writes to one, and takes long, keeps neither another resource's pages waiting nor
// the tick, which writes to none.
func TestChainsKeepNobodyElseWaiting(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	held, other := b.resource(t, "db-1"), b.resource(t, "db-2")
	db := b.first(t, other).Database
	if err := b.asService(t, "UPDATE schedules SET next_run_at = now() - interval '1 minute'"); err != nil {
		t.Fatal(err)
	}
	err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
		for _, sql := range []string{
			"SELECT set_config('remora.service', 'on', true)",
			"INSERT INTO audit_log (resource_id, at, actor, action) VALUES ('" + string(held) + "', now(), 'a', 'b')",
		} {
			if _, err := tx.Exec(t.Context(), sql); err != nil {
				return err
			}
		}
		if err := b.PauseSchedule(t.Context(), other, db, "", "anna"); err != nil {
			return err
		}
		n, err := b.EnqueueDue(t.Context())
		if n == 0 {
			t.Error("nothing was due")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What was written down before there were chains is chained in its order.
func TestOldAuditRowsAreChained(t *testing.T) {
	t.Parallel()
	c := pgtest.Server(t)
	pgtest.Exec(t, c.SuperuserURL("postgres"), "CREATE DATABASE unchained OWNER remora_owner")
	pool := pgtest.PoolAt(t, c.URL("remora_owner", "remora_owner", "unchained"))
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()
	versions, err := goose.NewProvider(goose.DialectPostgres, db, fs.FS(migrations.Files))
	if err == nil {
		_, err = versions.UpTo(t.Context(), 18)
	}
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Parse(keyring.Generate("k1"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	b := &bundle{Store: store, pool: pool}
	err = b.asService(t, `WITH r AS (INSERT INTO resources (id, name, plan, region, state, created_at)
		SELECT gen_random_uuid(), 'n', 'mako', 'us', 'active', now() FROM generate_series(1, 3) RETURNING id)
		INSERT INTO audit_log (resource_id, at, actor, action) SELECT id, now(), 'p' || i, 'did' FROM r, generate_series(1, 5) i ORDER BY i`)
	if err == nil {
		_, err = versions.Up(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	ids, err := store.ResourcesWithAudit(t.Context(), "")
	if err != nil || len(ids) != 3 {
		t.Fatal(ids, err)
	}
	for _, id := range ids {
		if chain, err := store.VerifyAudit(t.Context(), id); err != nil || chain.Length != 5 {
			t.Error(chain, err)
		}
		if l := b.lines(t, id); l[0].Actor != "p1" || l[4].Actor != "p5" {
			t.Error(l)
		}
	}
}

func TestLookingAtTheAuditLog(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := context.Background()
	id, neighbour := b.resource(t, "db-1"), b.resource(t, "db-2")
	backup := b.first(t, id)
	for i := range 9 {
		if err := b.NoteStranger(ctx, id, "Anna@example.com", fmt.Sprint(i), []string{unknownID}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.PauseSchedule(ctx, id, backup.Database, "", "bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RequestBackup(ctx, neighbour, b.first(t, neighbour).Database, "carol"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		look remora.AuditLook
		want int
		more bool
	}{
		"first page":   {remora.AuditLook{Most: 5}, 5, true},
		"a person":     {remora.AuditLook{Actor: "anna@", Most: 50}, 9, false},
		"an action":    {remora.AuditLook{Action: "pause schedule", Most: 50}, 1, false},
		"a neighbour":  {remora.AuditLook{Actor: "carol", Most: 50}, 0, false},
		"nothing":      {remora.AuditLook{Actor: "%", Most: 50}, 0, false},
		"before":       {remora.AuditLook{Actor: "anna", Before: b.lines(t, id)[8].Seq, Most: 50}, 5, false},
		"later":        {remora.AuditLook{Since: b.lines(t, id)[0].At.AddDate(1, 0, 0), Most: 50}, 0, false},
		"until then":   {remora.AuditLook{Until: b.lines(t, id)[0].At, Most: 50}, 0, false},
		"exactly full": {remora.AuditLook{Actor: "anna", Most: 9}, 9, false},
	} {
		page, err := b.AuditLog(ctx, id, c.look)
		if err != nil || len(page.Lines) != c.want || page.More != c.more || page.Chain.Length != int64(len(b.lines(t, id))) {
			t.Errorf("%s: %d lines, more %v, %v", name, len(page.Lines), page.More, err)
		}
	}
	page, err := b.AuditLog(ctx, id, remora.AuditLook{Most: 50})
	if err != nil || page.Lines[0].Actor != "bob" || page.About[string(backup.Database)].Addon != "db-1" || !strings.Contains(strings.Join(page.Actions, ","), "pause schedule,") {
		t.Errorf("%+v %v", page, err)
	}
}

// What changes nothing leaves no line: each is done twice, by which the log grows once.
func TestNoLineWithoutAChange(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db-1")
	kept := b.verified(t, id)
	db := kept.Database
	link, token, err := b.MakeLink(ctx, id, kept.ID, "p", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	hook, _ := b.channel(t, id, remora.ChannelSlack, "https://hooks.slack.com/x")
	times := 0
	for _, c := range []struct {
		name string
		do   func() error
	}{
		{"use link", func() error {
			_, _, err := b.UseLink(ctx, token, fmt.Sprint("link, from 192.0.2.", times))
			return err
		}},
		{"revoke link", func() error { return b.RevokeLink(ctx, id, kept.ID, link.ID, "p") }},
		{"request backup", func() error {
			_, err := b.RequestBackup(ctx, id, db, "p")
			return err
		}},
		{"request proof", func() error { return b.RequestProof(ctx, id, kept.ID, remora.ProofReread, "p") }},
		{"set channel", func() error {
			mutes := []remora.EventKind{remora.EventPaused, remora.EventResumed}
			if times > 0 {
				slices.Reverse(mutes)
			}
			return b.SetChannel(ctx, id, hook, true, mutes, "p")
		}},
		{"set ping", func() error { return b.SetPing(ctx, id, db, redact.New("https://hc-ping.com/1"), true, "p") }},
		{"change retention", func() error {
			_, err := b.SetRetention(ctx, id, db, remora.Retention{Last: 9, Zone: "UTC"}, 0, "p")
			return err
		}},
		{"change schedule", func() error {
			return b.SetSchedule(ctx, id, db, remora.Rule{Kind: remora.RuleWeekly, Weekday: time.Tuesday, Minute: 90, Zone: "UTC"}, "p")
		}},
		{"lock backup", func() error { return b.LockBackup(ctx, id, kept.ID, " before the move", "p") }},
	} {
		before := b.lines(t, id)
		for times = range 2 {
			if err := c.do(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
		if after := b.lines(t, id); len(after) != len(before)+1 || after[len(before)].Action != c.name {
			t.Errorf("%s: %v", c.name, after[len(before):])
		}
	}
}

// Whoever asks for what is theirs, or was, is no stranger; and a stranger's line names what is not theirs.
func TestStrangersAreThoseWhoAskForWhatIsNotTheirs(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	things := func(id remora.ResourceID) (out []string) {
		kept := b.verified(t, id)
		link, _, err := b.MakeLink(ctx, id, kept.ID, "p", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		hook, _ := b.channel(t, id, remora.ChannelSlack, "https://hooks.slack.com/x")
		token, _, err := b.MakeAPIToken(ctx, id, remora.NewAPIToken{Name: "deploys", Scope: remora.ScopeRead}, "p")
		if err == nil {
			err = b.RevokeAPIToken(ctx, id, token.ID, "p")
		}
		if err == nil {
			err = b.RevokeLink(ctx, id, kept.ID, link.ID, "p")
		}
		if err == nil {
			err = b.RemoveChannel(ctx, id, hook, "p")
		}
		if err != nil {
			t.Fatal(err)
		}
		return []string{string(kept.Database), string(kept.ID), string(link.ID), string(hook), string(token.ID)}
	}
	id, neighbour := b.resource(t, "db-1"), b.resource(t, "db-2")
	own, theirs := things(id), things(neighbour)
	before := len(b.lines(t, id))
	for _, named := range append([][]string{nil, own}, []string{own[2]}) {
		if err := b.NoteStranger(ctx, id, "p", "GET /{x}", named); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.lines(t, id); len(got) != before {
		t.Errorf("they are called strangers: %v", got[before:])
	}
	for i, x := range append(theirs, unknownID) {
		if err := b.NoteStranger(ctx, id, "p", "GET /{x}", []string{own[1], x}); err != nil {
			t.Fatal(err)
		}
		if got := b.lines(t, id); len(got) != before+i+1 || got[before+i].Action != "refused" || got[before+i].Subject != "GET /{x} "+x {
			t.Errorf("%s: %v", x, got[before:])
		}
	}
}
