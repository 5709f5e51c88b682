package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

func TestATokenOfTheAPIOpensItsOwnResourceUntilItsEnd(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	mine, theirs := b.resource(t, "a"), b.resource(t, "b")
	n := remora.NewAPIToken{Name: "deploys", Scope: remora.ScopeRead, Good: 30 * 24 * time.Hour}
	made, secret, err := b.MakeAPIToken(ctx, mine, n, "owner@example.com")
	if err != nil {
		t.Fatal(err)
	}
	use := func(kind remora.Kind, says string) remora.APIToken {
		t.Helper()
		id, token, err := b.UseAPIToken(ctx, secret.Reveal(), "203.0.113.7")
		if kind == "" && (err != nil || id != mine) || kind != "" && (remora.KindOf(err) != kind || !strings.Contains(err.Error(), says)) {
			t.Error(id, err)
		}
		return token
	}
	if got := use("", ""); got.ID != made.ID || got.Person() != "API token deploys" {
		t.Errorf("%+v", got)
	}
	first, err := b.APITokens(ctx, mine)
	if err != nil || len(first) != 1 || first[0].UsedAt.IsZero() || first[0].UsedFrom != "203.0.113.7" {
		t.Fatal(first, err)
	}
	b.ahead += 30 * time.Second
	use("", "")
	if all, _ := b.APITokens(ctx, mine); !all[0].UsedAt.Equal(first[0].UsedAt) {
		t.Error("a use is noted more than once a minute")
	}
	if _, _, err := b.UseAPIToken(ctx, remora.NewAPISecret().Reveal(), ""); remora.KindOf(err) != remora.KindUnauthorized {
		t.Error(err)
	}

	// Another resource neither sees nor ends it; its own name is free there.
	if all, err := b.APITokens(ctx, theirs); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	if err := b.RevokeAPIToken(ctx, theirs, made.ID, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
	if _, _, err := b.MakeAPIToken(ctx, theirs, n, "p"); err != nil {
		t.Error(err)
	}
	if _, _, err := b.MakeAPIToken(ctx, mine, n, "p"); remora.KindOf(err) != remora.KindConflict {
		t.Error(err)
	}

	b.ahead += 31 * 24 * time.Hour
	use(remora.KindUnauthorized, "has expired")
	if err := b.RevokeAPIToken(ctx, mine, made.ID, "owner@example.com"); err != nil {
		t.Error(err)
	}
	use(remora.KindUnauthorized, "was revoked")
	if err := b.RevokeAPIToken(ctx, mine, made.ID, "p"); remora.KindOf(err) != remora.KindNotFound {
		t.Error(err)
	}
	if err := b.PurgeSessions(ctx); err != nil {
		t.Error(err)
	}
	use(remora.KindUnauthorized, "was revoked")
	b.ahead += 91 * 24 * time.Hour
	if err := b.PurgeSessions(ctx); err != nil {
		t.Error(err)
	}
	use(remora.KindUnauthorized, "no such token")
}

func TestARemovedAddOnsTokenIsGone(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "a")
	_, secret, err := b.MakeAPIToken(ctx, id, remora.NewAPIToken{Name: "deploys", Scope: remora.ScopeAdmin}, "p")
	if err == nil {
		err = b.DeprovisionResource(ctx, id)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.UseAPIToken(ctx, secret.Reveal(), ""); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
	if _, _, err := b.MakeAPIToken(ctx, id, remora.NewAPIToken{Name: "x", Scope: remora.ScopeAdmin}, "p"); remora.KindOf(err) != remora.KindGone {
		t.Error(err)
	}
}

func TestThereAreNotTooManyTokens(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	id := b.resource(t, "a")
	for i := range remora.MaxAPITokens + 1 {
		_, _, err := b.MakeAPIToken(t.Context(), id, remora.NewAPIToken{Name: fmt.Sprint(i), Scope: remora.ScopeRead}, "p")
		if (err != nil) != (i == remora.MaxAPITokens) || err != nil && remora.KindOf(err) != remora.KindPlanLimit {
			t.Fatal(i, err)
		}
	}
}
