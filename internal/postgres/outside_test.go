package postgres_test

import (
	"errors"
	"testing"

	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// pings are those that are asked for, oldest first.
func (b *bundle) pings(t *testing.T) []jobargs.Ping {
	t.Helper()
	return query[jobargs.Ping](t, b, "SELECT args FROM river.river_job WHERE kind = 'ping' ORDER BY id")
}

func TestPingsFollowBackups(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "db-1")
	db := b.first(t, id).Database
	address := redact.New("https://hc-ping.com/5e3d-secret")
	if err := b.SetPing(t.Context(), id, db, address, true, "anna"); err != nil {
		t.Fatal(err)
	}
	b.end(t, id, b.good)
	b.run(t, id, func(c postgres.Claim) error {
		_, err := b.FailRun(t.Context(), c, &remora.Failure{Reason: remora.ReasonPermission}, "")
		return err
	})
	all := b.pings(t)
	var kinds []remora.PingKind
	for _, p := range all {
		kinds = append(kinds, p.About)
	}
	if len(all) != 4 || kinds[0] != remora.PingStart || kinds[1] != remora.PingSuccess || kinds[2] != remora.PingStart || kinds[3] != remora.PingFail {
		t.Fatal(kinds)
	}
	if _, err := b.ToPing(t.Context(), all[1]); !errors.Is(err, postgres.ErrNothingToDo) {
		t.Error("an older word is said after a newer one", err)
	}
	to, err := b.ToPing(t.Context(), all[3])
	if err != nil || to.Reveal() != "https://hc-ping.com/5e3d-secret/fail" {
		t.Error(to.Reveal(), err)
	}
	if err := b.SavePinged(t.Context(), all[3], true, "It answered 200 OK."); err != nil {
		t.Fatal(err)
	}
	x, err := b.Outside(t.Context(), id, db)
	if err != nil || x.Ping.Kind != remora.PingFail || !x.Ping.OK || x.Ping.Shown != "https://hc-ping.com/…" || x.Ping.At.IsZero() {
		t.Errorf("%+v %v", x.Ping, err)
	}
	if n := query[int64](t, b, "SELECT count(*) FROM pings WHERE encode(sealed_address, 'escape') LIKE '%secret%' OR shown LIKE '%secret%'"); n[0] != 0 {
		t.Error("the address lies open")
	}
	if err := b.RemovePing(t.Context(), id, db, "anna"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ToPing(t.Context(), all[3]); !errors.Is(err, postgres.ErrNothingToDo) {
		t.Error("a removed watch is called", err)
	}
}

func TestNobodyIsCalledUnasked(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id, other := b.resource(t, "db-1"), b.resource(t, "db-2")
	b.end(t, id, b.good)
	if n := len(b.pings(t)); n != 0 {
		t.Error(n)
	}
	db := b.first(t, id).Database
	if err := b.SetPing(t.Context(), other, db, redact.New("https://example.com/x"), false, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Error("a neighbour's database was given a ping", err)
	}
	if err := b.MakeBadge(t.Context(), other, db, false, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Error("a neighbour's database was given a badge", err)
	}
}

// A watch that was told of a start waits for an end; one that was told of nothing is not called about what somebody takes back.
func TestACanceledBackupIsNoEndlessStart(t *testing.T) {
	t.Parallel()
	for starts, want := range map[bool]int{true: 2, false: 0} {
		b := newBundle(t)
		id := b.resource(t, "db-1")
		x := b.first(t, id)
		if err := b.SetPing(t.Context(), id, x.Database, redact.New("https://hc-ping.com/5e3d"), starts, "anna"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.ClaimBackup(t.Context(), x.ID, "w"); err != nil {
			t.Fatal(err)
		}
		if err := b.CancelBackup(t.Context(), id, x.ID, "anna"); err != nil {
			t.Fatal(err)
		}
		if all := b.pings(t); len(all) != want || want > 0 && all[1].About != remora.PingFail {
			t.Errorf("starts %v: %+v", starts, all)
		}
		y, err := b.RequestBackup(t.Context(), id, x.Database, "anna") // which never begins
		if err == nil {
			err = b.CancelBackup(t.Context(), id, y, "anna")
		}
		if n := len(b.pings(t)); err != nil || n != want {
			t.Error(n, err)
		}
	}
}
