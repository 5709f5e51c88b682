package wiring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/partnerapi"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/proof"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/seal"
	"github.com/remora-backup/remora/internal/websession"
)

func (p process) web(ctx context.Context) error {
	pool, err := p.pool(ctx, 10+couriers)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := p.store(ctx, postgres.Config{Pool: pool, Keys: p.Keys, GatherNews: p.Rounds.GatherNews})
	if err != nil {
		return err
	}
	bucket, err := p.bucket()
	if err != nil {
		return err
	}
	if err := bucket.Reach(ctx); err != nil { // everything but downloads works without it, so this is no reason not to start
		p.log.ErrorContext(ctx, "the bucket cannot be read, so no download works: check S3_ENDPOINT, S3_BUCKET and the key", "error", err)
	}
	plain := strings.HasPrefix(p.Site.PublicURL, "http:")
	cookie := websession.Cookie{Plain: plain}
	server := httpserver.New(httpserver.Config{
		Log: p.log, Metrics: p.metrics, Ready: store.Ready, MetricsToken: p.Site.MetricsToken.Reveal(), Plain: plain,
	})
	partner, err := partnerapi.New(partnerapi.Config{
		Store: store, ID: p.Partner.AddonID, Password: p.Partner.AddonPassword, SSOSalt: p.Partner.SSOSalt, NewKey: newKey,
		Cookie: cookie, Home: dashboard.Home, Now: time.Now, Log: p.log,
	})
	if err != nil {
		return err
	}
	pages, err := dashboard.New(dashboard.Config{
		Store: store, Cookie: cookie, BaseURL: p.Site.PublicURL, ServiceAccount: p.Site.ServiceAccount, LinkGood: p.Site.LinkGood, Mails: p.mails(), Log: p.log,
		Open: func(ctx context.Context, id remora.ResourceID, b remora.Backup, tables []string) (dashboard.Archive, error) {
			key, err := keyOf(ctx, store, id)
			if err != nil {
				return nil, err
			}
			archive, err := archivestore.Open(ctx, bucket, archivestore.Ref{Resource: id, Backup: b.ID, Epoch: b.Epoch}, key, p.Keys)
			if err != nil || len(tables) == 0 {
				return archive, err
			}
			part, err := pgarchive.Select(archive, archive.Size(), tables...)
			if errors.Is(err, pgarchive.ErrNoTable) {
				return nil, &remora.Error{Kind: remora.KindNotFound, Public: "This archive has no such table with rows of its own. Name it as schema.table, without quotes, as in table=public.orders; of a partitioned table name the partitions.", Cause: err}
			}
			var long *pgarchive.LongHeadError
			if errors.As(err, &long) {
				return nil, &remora.Error{Kind: remora.KindConflict, Public: "This archive lists so many objects that single tables cannot be taken out of it here. Download it whole and use pg_restore --table.", Cause: err}
			}
			return part, err
		},
		Contents: func(ctx context.Context, id remora.ResourceID, b remora.Backup) (dashboard.Archive, error) {
			key, err := keyOf(ctx, store, id)
			if err != nil {
				return nil, err
			}
			list, err := archivestore.OpenContents(ctx, bucket, archivestore.Ref{Resource: id, Backup: b.ID, Epoch: b.Epoch}, key, p.Keys)
			if err != nil || list == nil {
				return nil, err
			}
			return list, nil
		},
		Script: pgarchive.WriteScript,
		Needs: func(ctx context.Context, id remora.ResourceID, b remora.Backup) (out remora.Needs, err error) {
			key, err := keyOf(ctx, store, id)
			if err != nil {
				return out, err
			}
			archive, err := archivestore.Open(ctx, bucket, archivestore.Ref{Resource: id, Backup: b.ID, Epoch: b.Epoch}, key, p.Keys)
			if err != nil {
				return out, err
			}
			head, err := pgarchive.ReadHead(io.NewSectionReader(archive, 0, min(archive.Size(), headOfPage)))
			if err != nil {
				return out, &remora.Error{Kind: remora.KindConflict, Public: "What it needs is not listed here: the archive's list of objects is too long, or newer than our reader.", Cause: err}
			}
			out.Extensions, out.Superuser, out.Schemas = proof.Needs(head)
			return out, nil
		},
	})
	if err != nil {
		return err
	}
	partner.Routes(server.Mux())
	pages.Routes(server.Mux())
	news, err := p.news(pool, store)
	if err != nil {
		return err
	}
	watcher, stopWatcher, err := p.watcher(ctx)
	if err != nil {
		return err
	}
	defer stopWatcher()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(p.Site.Bind, strconv.Itoa(p.Site.Port)))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopped, err := p.start(ctx, news)
	if err != nil {
		return err
	}
	p.log.InfoContext(ctx, "serving", "addr", l.Addr().String(), "mail", p.mails())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watcher.Run(ctx)
	}()
	err = server.Run(ctx, l)
	cancel()
	<-watched
	return errors.Join(err, stopped())
}

// headOfPage is how much of an archive is read for a page that says what it needs: the objects of some 20,000 tables.
const headOfPage = 16 << 20

func keyOf(ctx context.Context, store *postgres.Store, id remora.ResourceID) (seal.Key, error) {
	secret, err := store.ResourceKey(ctx, id)
	if err != nil {
		return seal.Key{}, err
	}
	return seal.ParseKey(secret)
}

// newKey makes what a resource's archives are sealed to.
func newKey() (redact.Secret, string, error) {
	k, err := seal.NewKey()
	if err != nil {
		return redact.Secret{}, "", err
	}
	return k.Secret(), k.Recipient(), nil
}
