package remora_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

func TestEveryReasonSpeaks(t *testing.T) {
	t.Parallel()
	for _, r := range append(remora.Reasons(), remora.SkipReasons()...) {
		if s := r.Sentence(); len(s) < 10 || !strings.HasSuffix(s, ".") {
			t.Errorf("%s: %q is no sentence", r, s)
		}
		if r.Actor() == "" {
			t.Errorf("%s: nobody is named", r)
		}
	}
	if remora.Reason("made up").Sentence() != remora.ReasonInternal.Sentence() {
		t.Error("an unknown reason must fall back to a sentence")
	}
}

func TestBackupStates(t *testing.T) {
	t.Parallel()
	if !remora.BackupRunning.May(remora.BackupVerified) || remora.BackupQueued.May(remora.BackupVerified) ||
		remora.BackupFailed.May(remora.BackupVerified) || remora.BackupDeleted.May(remora.BackupQueued) {
		t.Error("a backup is verified only from running, and an ended one stays ended")
	}
	if remora.BackupIncomplete.Good() || !remora.BackupIncomplete.Restorable() || remora.BackupRunning.Restorable() {
		t.Error("an incomplete backup is downloadable and not good; a running one is neither")
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	p, err := remora.PlanOf("remora-backup:mako")
	if err != nil || p.Slug != "mako" {
		t.Fatal(p, err)
	}
	if _, err := remora.PlanOf("admin"); remora.KindOf(err) != remora.KindInvalid || !strings.Contains(err.Error(), "hammerhead") {
		t.Errorf("an unknown plan must name the known ones: %v", err)
	}
	if err := p.Allows(2); err != nil {
		t.Error(err)
	}
	if err := p.Allows(3); remora.KindOf(err) != remora.KindPlanLimit {
		t.Errorf("got %v", err)
	}
}

func TestALargerPlanIsLargerInEveryLimit(t *testing.T) {
	t.Parallel()
	plans := remora.Plans()
	for i, p := range plans {
		if p.Databases < 1 || p.MinInterval <= 0 || p.KeepDays < 1 || p.KeepCount < 1 || p.Locks < 1 || p.Locks >= p.KeepCount || p.StoredBytes < 1 || p.LargestDatabase < 1 || p.Parallel < 1 || p.ProveEvery <= 0 || p.RereadEvery <= 0 || p.Name == "" {
			t.Errorf("%s leaves something open: %+v", p.Slug, p)
		}
		if days := p.RereadEvery + remora.RereadGrace; days > 30*24*time.Hour {
			t.Errorf("%s reads again after %v", p.Slug, days)
		}
		if i == 0 {
			if p.PriceCents != 0 {
				t.Error("the first plan is the free one")
			}
			continue
		}
		less := plans[i-1]
		if p.PriceCents <= less.PriceCents || p.Databases <= less.Databases || p.MinInterval >= less.MinInterval || p.KeepDays <= less.KeepDays ||
			p.KeepCount <= less.KeepCount || p.Locks <= less.Locks || p.StoredBytes <= less.StoredBytes || p.LargestDatabase <= less.LargestDatabase || p.Parallel < less.Parallel ||
			p.ProveEvery > less.ProveEvery || p.RereadEvery > less.RereadEvery || less.SecondPlace && !p.SecondPlace {
			t.Errorf("%s costs more than %s and is less in something: %+v", p.Slug, less.Slug, p)
		}
	}
}

func TestDefaultRulesAreSpreadOverTheQuietHours(t *testing.T) {
	t.Parallel()
	seen := map[int]int{}
	for i := range 2000 {
		d := remora.DefaultRule(remora.DatabaseID(fmt.Sprint(i)))
		if d.Minute < 120 || d.Minute >= 480 {
			t.Fatalf("minute %d is not in the quiet hours", d.Minute)
		}
		seen[d.Minute]++
	}
	for m, n := range seen {
		if n > 30 { // 5.6 expected
			t.Errorf("%d of 2000 databases at minute %d: that is a herd", n, m)
		}
	}
}

func TestErrorsKeepTheirKindWhenWrapped(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("load: %w", &remora.Error{Kind: remora.KindGone, Public: "Removed.", Cause: errors.New("inner")})
	if remora.KindOf(err) != remora.KindGone || remora.Public(err, "x") != "Removed." || remora.Public(errors.New("y"), "x") != "x" {
		t.Error(err)
	}
	if remora.KindOf(errors.New("x")) != remora.KindInternal {
		t.Error("an unknown error is internal")
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	id, err := remora.ParseResourceID("01234567-89AB-cdef-0123-456789abcdef")
	if err != nil || id != "01234567-89ab-cdef-0123-456789abcdef" {
		t.Error(id, err)
	}
	for _, bad := range []string{"", "x", "{01234567-89ab-cdef-0123-456789abcdef}", "0123456789abcdef0123456789abcdef", "urn:uuid:01234567-89ab-cdef-0123-456789abcdef", "../x"} {
		if _, err := remora.ParseResourceID(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
	if a, b := remora.NewID[remora.BackupID](), remora.NewID[remora.BackupID](); a == b || len(a) != 36 {
		t.Error(a, b)
	}
	if a, b := remora.NewToken(), remora.NewToken(); a == b || len(a) != 64 {
		t.Error(a, b)
	}
}

// What can heal without anybody is tried again, and nothing else: trying again where somebody must act first only costs his
// database, and hides from him that he must.
func TestOnlyWhatHealsIsTriedAgain(t *testing.T) {
	t.Parallel()
	heals := map[remora.Reason]string{
		remora.ReasonUnreachable: "a failover ends", remora.ReasonLoginRefused: "a rotation: the next attempt reads the config var anew",
		remora.ReasonTooManyConnections: "connections end", remora.ReasonLockTimeout: "a migration ends", remora.ReasonLockGaveWay: "likewise",
		remora.ReasonServerBusy: "the other backups end", remora.ReasonConnectionLost: "it breaks rarely", remora.ReasonRecoveryConflict: "the follower catches up",
		remora.ReasonSchemaChanged: "a migration ends", remora.ReasonDumpFailed: "it is not known", remora.ReasonMoreMemory: "the next attempt gets more",
		remora.ReasonArchiveInvalid: "a broken stream", remora.ReasonStoreFull: "we make room", remora.ReasonStoreFailed: "the store comes back",
		remora.ReasonOwnBucketFailed: "likewise",
		remora.ReasonStalled:         "a network heals", remora.ReasonHerokuUnavailable: "Heroku comes back", remora.ReasonWorkerLost: "another worker takes over",
		remora.ReasonInternal: "it is not known",
	}
	for _, r := range remora.Reasons() {
		if _, ok := heals[r]; ok != r.Heals() {
			t.Errorf("%s is tried again: %v", r, r.Heals())
		}
		if r.Yields() && !r.Heals() {
			t.Errorf("%s waits for an attempt that never comes", r)
		}
	}
}
