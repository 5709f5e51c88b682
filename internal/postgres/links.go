package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/postgres/pgsql"
	"github.com/remora-backup/remora/internal/remora"
)

// MakeLink makes a link to a restorable backup, good for as long as said, and returns it with its token,
// which is shown once and not kept. Errors: KindNotFound, KindConflict where there is nothing to download,
// KindBusy where too many were made.
func (s *Store) MakeLink(ctx context.Context, id remora.ResourceID, b remora.BackupID, person string, good time.Duration) (remora.Link, string, error) {
	var out remora.Link
	token := remora.NewToken()
	err := s.forResource(ctx, id, func(t *tx) error {
		if _, err := t.lockLive(ctx, id); err != nil { // for the count of links
			return err
		}
		row, err := t.q.GetBackup(ctx, pgsql.GetBackupParams{ID: string(b), ResourceID: string(id)})
		if err != nil {
			return or404(err, "backup")
		}
		if !remora.BackupState(row.Backup.State).Restorable() {
			return &remora.Error{Kind: remora.KindConflict, Public: "This backup has no archive to download."}
		}
		if err := t.mayHappen(ctx, id, remora.EventLinkMade); err != nil {
			return err
		}
		out = remora.Link{ID: remora.NewID[remora.LinkID](), Backup: b, MadeBy: person, CreatedAt: t.now, ExpiresAt: t.now.Add(good)}
		err = t.q.InsertLink(ctx, pgsql.InsertLinkParams{
			ID: string(out.ID), ResourceID: string(id), BackupID: string(b), TokenHash: hash(token), MadeBy: person,
			Now: t.now, ExpiresAt: out.ExpiresAt,
		})
		if err != nil {
			return fmt.Errorf("insert link: %w", err)
		}
		if err := t.happened(ctx, id, remora.Event{Kind: remora.EventLinkMade, Backup: b, Detail: person}); err != nil {
			return err
		}
		return t.audit(ctx, id, person, "make link", string(b))
	})
	return out, token, err
}

// UseLink returns what a link's token opens and writes down that it was used, by whom as far as an address tells: once a
// minute, from however many addresses, so that whoever has a link cannot fill the log. Errors: KindNotFound for a token that
// never was, KindGone for one that has expired, was revoked or whose backup or add-on is gone.
func (s *Store) UseLink(ctx context.Context, token, from string) (remora.ResourceID, remora.Backup, error) {
	var id remora.ResourceID
	var out remora.Backup
	err := s.forService(ctx, func(t *tx) error {
		l, b, err := t.link(ctx, token)
		if err != nil {
			return err
		}
		if !l.ExpiresAt.After(t.now) {
			return errLinkEnded
		}
		id, out = remora.ResourceID(l.ResourceID), b
		noted, err := t.q.NoteLinkUse(ctx, pgsql.NoteLinkUseParams{ID: l.ID, Now: &t.now, UsedFrom: from})
		if err != nil {
			return fmt.Errorf("note the link's use: %w", err)
		}
		if noted == 0 {
			return nil
		}
		return t.audit(ctx, id, from, "use link", l.BackupID)
	})
	return id, out, err
}

// LinkEnds returns when a link expires, or did. A download that has begun asks it again and again. Errors:
// KindNotFound for a token that never was, KindGone where the link was revoked or its backup or add-on is gone.
func (s *Store) LinkEnds(ctx context.Context, token string) (at time.Time, err error) {
	err = s.forService(ctx, func(t *tx) error {
		l, _, err := t.link(ctx, token)
		at = l.ExpiresAt
		return err
	})
	return at, err
}

// link finds a link that nobody has ended, and what it opens; it may have expired.
func (t *tx) link(ctx context.Context, token string) (l pgsql.FindLinkRow, b remora.Backup, err error) {
	l, err = t.q.FindLink(ctx, hash(token))
	if errors.Is(err, pgx.ErrNoRows) {
		return l, b, remora.NotFound("link")
	}
	if err != nil {
		return l, b, fmt.Errorf("find link: %w", err)
	}
	if l.RevokedAt != nil || l.ResourceState == string(remora.ResourceDeprovisioned) {
		return l, b, errLinkEnded
	}
	row, err := t.q.GetBackup(ctx, pgsql.GetBackupParams{ID: l.BackupID, ResourceID: l.ResourceID})
	if err != nil {
		return l, b, fmt.Errorf("read backup: %w", err)
	}
	if b = backupOf(row.Backup, row.Addon, row.OwnerApp); !b.State.Restorable() {
		return l, b, errLinkEnded
	}
	return l, b, nil
}

var errLinkEnded = &remora.Error{Kind: remora.KindGone, Public: "This link has ended. Make a new one on the backup's page."}

// RevokeLink ends a backup's link at once. One that has ended stays as it is. Errors: KindNotFound.
func (s *Store) RevokeLink(ctx context.Context, id remora.ResourceID, b remora.BackupID, link remora.LinkID, person string) error {
	l := string(link)
	return s.forResource(ctx, id, func(t *tx) error {
		all, err := t.q.ListLinks(ctx, pgsql.ListLinksParams{ResourceID: string(id), BackupID: string(b)})
		if err != nil {
			return fmt.Errorf("list links: %w", err)
		}
		if !slices.ContainsFunc(all, func(x pgsql.Link) bool { return x.ID == l }) {
			return remora.NotFound("link")
		}
		n, err := t.q.RevokeLinks(ctx, pgsql.RevokeLinksParams{ResourceID: string(id), ID: &l, Now: &t.now})
		if err != nil {
			return fmt.Errorf("revoke link: %w", err)
		}
		if n == 0 {
			return nil
		}
		return t.audit(ctx, id, person, "revoke link", l)
	})
}

// Links lists a backup's links, newest first.
func (s *Store) Links(ctx context.Context, id remora.ResourceID, b remora.BackupID) ([]remora.Link, error) {
	var out []remora.Link
	err := s.seeResource(ctx, id, func(t *tx) error {
		rows, err := t.q.ListLinks(ctx, pgsql.ListLinksParams{ResourceID: string(id), BackupID: string(b)})
		for _, l := range rows {
			out = append(out, linkOf(l))
		}
		return err
	})
	return out, err
}
