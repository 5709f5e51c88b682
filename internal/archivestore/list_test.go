package archivestore_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
)

func TestList(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	one, two := newRef(), newRef()
	tenth := one
	tenth.Epoch = 10
	for _, ref := range []archivestore.Ref{one, tenth, two} {
		b.store(t, ref, []byte("head"), noise(100))
	}
	if _, err := b.bucket.PutIfAbsent(t.Context(), archivestore.Prefix+"foreign", []byte("x")); err != nil {
		t.Fatal(err)
	}
	list := func(after archivestore.Ref) (all []archivestore.Ref) {
		t.Helper()
		err := archivestore.List(t.Context(), b.bucket, after, func(s archivestore.Stored) error {
			if age := time.Since(s.Newest); age < -time.Minute || age > time.Minute {
				t.Errorf("%v: %v old", s.Ref, age)
			}
			all = append(all, s.Ref)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := list(archivestore.Ref{})
	if len(all) != 3 || !slices.Contains(all, one) || !slices.Contains(all, tenth) || !slices.Contains(all, two) {
		t.Fatal(all)
	}
	for i, ref := range all {
		if got := list(ref); !slices.Equal(got, all[i+1:]) {
			t.Errorf("after %v: %v", ref, got)
		}
	}
	stop := errors.New("enough")
	n := 0
	if err := archivestore.List(t.Context(), b.bucket, archivestore.Ref{}, func(archivestore.Stored) error { n++; return stop }); !errors.Is(err, stop) || n != 1 {
		t.Error(n, err)
	}
}

// A customer's own store may list what it likes below one run: no more of it is held than a run can have.
func TestListOfARunEnds(t *testing.T) {
	t.Parallel()
	ref := newRef()
	from := newEndless(t, archivestore.Prefix+string(ref.Resource)+"/b/"+string(ref.Backup)+"/1/x-%d")
	err := archivestore.RunsOf(t.Context(), from.Bucket, ref.Resource, func(archivestore.Stored) error { return nil })
	if !errors.Is(err, archivestore.ErrEndless) || from.pages > 60 {
		t.Errorf("%d pages: %v", from.pages, err)
	}
}
