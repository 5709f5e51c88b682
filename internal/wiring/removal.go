package wiring

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/remora-backup/remora/internal/config"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/remora"
)

// undoWithin is the setting as the store has it, where 0 is its default.
func (p process) undoWithin() time.Duration {
	if p.Removal.UndoWithin == 0 {
		return -1
	}
	return p.Removal.UndoWithin
}

// removal shows the operator what becomes of a removed add-on, or undoes that it was removed.
func (p process) removal(ctx context.Context, stdout io.Writer) error {
	id, err := remora.ParseResourceID(p.Removed)
	if err != nil {
		return err
	}
	pool, err := p.pool(ctx, 2)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := p.store(ctx, postgres.Config{Pool: pool, Keys: p.Keys})
	if err != nil {
		return err
	}
	if p.Command == config.UndoRemoval {
		if err := store.UndoRemoval(ctx, id); err != nil {
			return err
		}
		_, err := fmt.Fprintln(stdout, "The removal is undone: the archives can be opened again, and the schedules go on. What Heroku gave us, links and tokens of the API stay gone; the add-on's page says what its owner must do.")
		return err
	}
	r, err := store.Removal(ctx, id)
	if err != nil {
		return err
	}
	return printReceipt(stdout, r)
}

func printReceipt(w io.Writer, r remora.Removal) error {
	_, err := fmt.Fprintf(w, "add-on   %s\nheld     %d databases, %d backups in %d objects of %d bytes\ndeleted  %d objects of %d bytes, %d uploads under way\nundo     until %s\n\n",
		r.Resource, r.Databases, r.Backups, r.Objects, r.Bytes, r.DeletedObjects, r.DeletedBytes, r.AbortedUploads, r.UndoUntil.Format(time.RFC3339))
	for _, s := range r.Steps() {
		if err != nil {
			break
		}
		at := "not yet; by " + s.By.Format(time.RFC3339)
		if !s.At.IsZero() {
			at = s.At.Format(time.RFC3339)
		}
		_, err = fmt.Fprintf(w, "%s: %s\n", s.What, at)
	}
	if err == nil && r.Audit.Length > 0 {
		_, err = fmt.Fprintf(w, "\nThe audit log had %d lines, the last with the hash %x.\n", r.Audit.Length, r.Audit.Hash)
	}
	return err
}
