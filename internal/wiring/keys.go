package wiring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/postgres"
)

// keysCheck says what each key has sealed, and which can be taken out of the ring.
func (p process) keysCheck(ctx context.Context, stdout io.Writer) error {
	return p.withKeys(ctx, func(store *postgres.Store) error { return p.sayKeys(ctx, store, stdout) })
}

// keysRotate has the first key seal what others have sealed, and says what is left to do.
func (p process) keysRotate(ctx context.Context, stdout io.Writer) error {
	return p.withKeys(ctx, func(store *postgres.Store) error {
		done, err := store.Reseal(ctx, archivestore.Purposes(), func(column string, n int) {
			if n > 0 {
				_, _ = fmt.Fprintf(stdout, "%s: %d\n", column, n)
			}
		})
		_, _ = fmt.Fprintf(stdout, "%d values are sealed by %s now that were not.\n", done.Values, p.Keys.IDs()[0])
		if err != nil {
			return err
		}
		if len(done.Failed) > 0 {
			return fmt.Errorf("%d values do not open and stay as they were; is a key missing from KEYRING?\n  %s", len(done.Failed), strings.Join(done.Failed[:min(len(done.Failed), listed)], "\n  "))
		}
		return p.sayKeys(ctx, store, stdout)
	})
}

func (p process) withKeys(ctx context.Context, do func(*postgres.Store) error) error {
	pool, err := p.pool(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := postgres.New(postgres.Config{Pool: pool, Keys: p.Keys})
	if err != nil {
		return err
	}
	if err := atThisRelease(ctx, pool); err != nil {
		return err
	}
	return do(store)
}

// sayKeys is an error where a value needs a key that is not in the ring.
func (p process) sayKeys(ctx context.Context, store *postgres.Store, stdout io.Writer) error {
	uses, err := store.KeyUses(ctx)
	if err != nil {
		return err
	}
	retired, err := store.Retired(ctx)
	if err != nil {
		return err
	}
	ids := p.Keys.IDs()
	missing := []string{}
	for _, u := range uses {
		if !slices.Contains(ids, u.Key) && !slices.Contains(missing, u.Key) {
			missing = append(missing, u.Key)
		}
	}
	for i, id := range append(slices.Clone(ids), missing...) {
		var all int64
		var of []string
		for _, u := range uses {
			if u.Key == id {
				all += u.Values
				of = append(of, fmt.Sprintf("  %s: %d\n", u.Column, u.Values))
			}
		}
		says := "nothing needs it any more: take it out of KEYRING, once every process has been started with " + ids[0] + " first"
		switch {
		case i == 0:
			says = fmt.Sprintf("seals; has sealed %d values", all)
		case i >= len(ids):
			says = fmt.Sprintf("is not in KEYRING and has sealed %d values: put it back", all)
		case all > 0 || !slices.Contains(retired, id):
			says = fmt.Sprintf("has sealed %d values: remora keys rotate has them sealed by %s, and keeps what checks its signatures", all, ids[0])
		}
		_, _ = fmt.Fprintf(stdout, "%s %s\n%s", id, says, strings.Join(of, ""))
	}
	if len(missing) > 0 {
		return errors.New("values are sealed by keys that are not in KEYRING: " + strings.Join(missing, ", "))
	}
	return nil
}
