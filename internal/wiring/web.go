package wiring

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/remora-backup/remora/internal/api"
	"github.com/remora-backup/remora/internal/archivestore"
	"github.com/remora-backup/remora/internal/dashboard"
	"github.com/remora-backup/remora/internal/httpserver"
	"github.com/remora-backup/remora/internal/notify"
	"github.com/remora-backup/remora/internal/partnerapi"
	"github.com/remora-backup/remora/internal/pgarchive"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/seal"
	"github.com/remora-backup/remora/internal/websession"
)

// linger is how long web still takes requests after its SIGTERM, while its router learns of it.
const linger = 2 * time.Second

func (p process) web(ctx context.Context) error {
	pool, err := p.pool(ctx, 10+couriers)
	if err != nil {
		return err
	}
	defer pool.Close()
	store, err := p.store(ctx, postgres.Config{Pool: pool, Keys: p.Keys, GatherNews: p.Rounds.GatherNews, UndoWithin: p.undoWithin()})
	if err != nil {
		return err
	}
	bucket, err := p.bucket()
	if err != nil {
		return err
	}
	stores, err := p.stores(bucket, store, false)
	if err != nil {
		return err
	}
	defer stores.Close()
	if err := bucket.Reach(ctx, archivestore.Prefix); err != nil { // everything but downloads works without it, so this is no reason not to start
		p.log.ErrorContext(ctx, "the bucket cannot be read, so no download works: check S3_ENDPOINT, S3_BUCKET and the key", "error", err)
	}
	plain := strings.HasPrefix(p.Site.PublicURL, "http:")
	cookie := websession.Cookie{Plain: plain}
	server := httpserver.New(httpserver.Config{
		Log: p.log, Metrics: p.metrics, Ready: store.Ready, MetricsToken: p.Site.MetricsToken.Reveal(), Plain: plain,
		Linger: linger,
	})
	partner, err := partnerapi.New(partnerapi.Config{
		Store: store, ID: p.Partner.AddonID, Password: p.Partner.AddonPassword, SSOSalt: p.Partner.SSOSalt, NewKey: newKey,
		Cookie: cookie, Home: dashboard.Home, Now: time.Now, Log: p.log,
	})
	if err != nil {
		return err
	}
	read := archives{p, store, stores, ourPatience}
	callable := func(ctx context.Context, address redact.Secret) error {
		return notify.Callable(ctx, p.policy, net.DefaultResolver, address)
	}
	pages, err := dashboard.New(dashboard.Config{
		Store: store, Cookie: cookie, BaseURL: p.Site.PublicURL, ServiceAccount: p.Site.ServiceAccount, LinkGood: p.Site.LinkGood, Mails: p.mails(), Log: p.log,
		Open: read.open, Contents: read.contents, Script: pgarchive.WriteScript, Needs: read.needs,
		Callable: callable, Sealed: read.sealed, Sealer: sealer{p.Keys}, Probe: stores.Probe,
	})
	if err != nil {
		return err
	}
	programs, err := api.New(api.Config{
		Store: store, Contents: read.list, Needs: read.needs, LinkURL: pages.LinkURL, BadgeURL: pages.BadgeURL, BaseURL: p.Site.PublicURL, LinkGood: p.Site.LinkGood,
		Mails: p.mails(), Callable: callable, Sealer: sealer{p.Keys}, Probe: stores.Probe, Log: p.log,
	})
	if err != nil {
		return err
	}
	partner.Routes(server.Mux())
	pages.Routes(server.Mux())
	programs.Routes(server.Mux())
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
	if err := p.operator(ctx, server.Mux(), pool, store, plain); err != nil {
		return err
	}
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

// newKey makes what a resource's archives are sealed to.
func newKey() (redact.Secret, string, error) {
	k, err := seal.NewKey()
	if err != nil {
		return redact.Secret{}, "", err
	}
	return k.Secret(), k.Recipient(), nil
}
