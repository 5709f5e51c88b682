package remora_test

import (
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

func TestConsequences(t *testing.T) {
	t.Parallel()
	passed, differs := remora.ProofOutcome{State: remora.ProofPassed}, remora.ProofOutcome{State: remora.ProofFailed, Reason: remora.ReasonRestoreDiffers}
	damaged := remora.ProofOutcome{State: remora.ProofFailed, Reason: remora.ReasonObjectDamaged}
	for name, c := range map[string]struct {
		kind    remora.ProofKind
		outcome remora.ProofOutcome
		from    remora.BackupState
		want    remora.BackupState
		anew    bool
	}{
		"restored":                     {remora.ProofRestore, passed, remora.BackupVerified, remora.BackupProven, false},
		"restored again":               {remora.ProofRestore, passed, remora.BackupProven, remora.BackupProven, false},
		"restored, with a hole":        {remora.ProofRestore, passed, remora.BackupIncomplete, remora.BackupIncomplete, false},
		"read again":                   {remora.ProofReread, passed, remora.BackupVerified, remora.BackupVerified, false},
		"differs":                      {remora.ProofRestore, differs, remora.BackupVerified, remora.BackupIncomplete, false},
		"differs, after it was proven": {remora.ProofRestore, differs, remora.BackupProven, remora.BackupIncomplete, false},
		"damaged":                      {remora.ProofReread, damaged, remora.BackupProven, remora.BackupFailed, true},
		"damaged, seen by a restore":   {remora.ProofRestore, damaged, remora.BackupIncomplete, remora.BackupFailed, true},
		"damaged, and gone since":      {remora.ProofReread, damaged, remora.BackupExpired, remora.BackupExpired, false},
		"impossible":                   {remora.ProofRestore, remora.ProofOutcome{State: remora.ProofImpossible}, remora.BackupVerified, remora.BackupVerified, false},
		"lost":                         {remora.ProofReread, remora.ProofOutcome{State: remora.ProofLost, Reason: remora.ReasonStoreFailed}, remora.BackupVerified, remora.BackupVerified, false},
	} {
		got, changed := c.outcome.Consequence(c.kind, c.from)
		if got.State != c.want || got.Anew != c.anew || changed != (c.from != c.want) {
			t.Errorf("%s: %+v, changed: %v", name, got, changed)
		}
		if changed && !c.from.May(got.State) {
			t.Errorf("%s: %s may not become %s", name, c.from, got.State)
		}
	}
}

// Whatever the plan, what is stored is read again within 30 days, and each database restored within a week.
func TestPlansProve(t *testing.T) {
	t.Parallel()
	for _, p := range remora.Plans() {
		if p.RereadEvery <= 0 || p.RereadEvery+remora.RereadGrace > 30*24*time.Hour || p.ProveEvery <= 0 || p.ProveEvery > 7*24*time.Hour {
			t.Errorf("%+v", p)
		}
	}
	if remora.ProofLimit(0) < 10*time.Minute || remora.ProofLimit(1<<50) > 8*time.Hour {
		t.Error(remora.ProofLimit(0), remora.ProofLimit(1<<50))
	}
}
