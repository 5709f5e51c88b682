package remora_test

import (
	"slices"
	"testing"

	"github.com/remora-backup/remora/internal/remora"
)

func TestEveryKindOfEventHasATitleAndEveryReasonAKind(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range remora.EventKinds() {
		if k.Title() == "" || seen[k.Title()] {
			t.Errorf("%s: %q", k, k.Title())
		}
		seen[k.Title()] = true
	}
	for _, r := range remora.Reasons() {
		if k := r.Event(); !k.Trouble() || !slices.Contains(remora.EventKinds(), k) {
			t.Errorf("%s is %s", r, k)
		}
	}
	for r, want := range map[remora.Reason]remora.EventKind{
		remora.ReasonPermission: remora.EventPermissionGap, remora.ReasonLoginRefused: remora.EventCredentialProblem,
		remora.ReasonUnreachable: remora.EventFailed, remora.ReasonLeftOut: remora.EventFailed,
	} {
		if r.Event() != want {
			t.Errorf("%s is %s", r, r.Event())
		}
	}
}

func TestAVerifiedBackupIsNewsWhereItIsTheFirstOrEndsATrouble(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		last remora.EventKind
		good bool
		want remora.EventKind
		is   bool
	}{
		{"", false, remora.EventFirstSuccess, true},
		{remora.EventFailed, false, remora.EventFirstSuccess, true},
		{"", true, remora.EventRecovered, false},
		{remora.EventFirstSuccess, true, remora.EventRecovered, false},
		{remora.EventRecovered, true, remora.EventRecovered, false},
		{remora.EventFailed, true, remora.EventRecovered, true},
		{remora.EventCredentialProblem, true, remora.EventRecovered, true},
		{remora.EventPermissionGap, true, remora.EventRecovered, true},
		{remora.EventLate, true, remora.EventRecovered, false}, // the freshness watcher says that itself
	} {
		if kind, is := remora.EventAfter(c.last, c.good); is != c.is || is && kind != c.want {
			t.Errorf("after %q, good %v: %s %v", c.last, c.good, kind, is)
		}
	}
}
