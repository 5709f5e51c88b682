package postgres_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// dump is our whole database as text, jobs included: what a thief of a dump has. Bytes are in hexadecimal, as COPY writes them.
func (b *bundle) dump(t *testing.T) string {
	t.Helper()
	ctx := t.Context()
	var all strings.Builder
	err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT set_config('remora.service', 'on', true)"); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN ('public', 'river')")
		if err != nil {
			return err
		}
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, n := range names {
			var text *string
			if err = errors.Join(err, tx.QueryRow(ctx, "SELECT string_agg(x::text, E'\\n') FROM "+n+" x").Scan(&text)); text != nil {
				all.WriteString(*text)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.ToLower(all.String())
}

// A dump of our database alone opens nothing: every secret in it is sealed by a key that is not there, or is only a hash. The
// key ring and the dump together open the secrets, which shows that they are there; another key ring does not.
func TestADumpOfOurDatabaseOpensNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	id := b.resource(t, "db")
	secrets := map[string]string{}
	canary := func(name string) redact.Secret {
		secrets[name] = "canary-" + strings.ReplaceAll(name, " ", "-") + "-" + remora.NewToken()[:16]
		return redact.New(secrets[name])
	}
	fresh := remora.NewID[remora.ResourceID]()
	p := provision(fresh)
	p.Grant = canary("grant")
	if _, err := b.ProvisionResource(ctx, p, canary("resource key"), "age1public"); err != nil {
		t.Fatal(err)
	}
	if err := b.SaveTokens(ctx, id, canary("access token"), canary("refresh token"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	hook := redact.New("https://example.com/" + canary("webhook").Reveal())
	_, signing, err := b.AddChannel(ctx, id, remora.NewChannel{Kind: remora.ChannelWebhook, Shown: "https://example.com", Address: hook}, "p")
	if err != nil {
		t.Fatal(err)
	}
	secrets["signing secret"] = signing.Reveal()
	backup := b.verified(t, id)
	db := backup.Database
	if err := errors.Join(b.SetPing(ctx, id, db, redact.New("https://hc.example.com/"+canary("ping").Reveal()), false, "p"), b.MakeBadge(ctx, id, db, false, "p")); err != nil {
		t.Fatal(err)
	}
	out, err := b.Outside(ctx, id, db)
	if err != nil {
		t.Fatal(err)
	}
	secrets["badge"] = out.Badge.Token.Reveal()
	err = b.SetBucket(ctx, id, remora.Place{Endpoint: "https://s3.example.com", Bucket: "theirs"},
		remora.BucketKeys{AccessKey: "AKIAWRITES", SecretKey: canary("bucket secret"), DeleteAccessKey: "AKIADELETES", DeleteSecretKey: canary("deleting secret")}, remora.BucketLock{}, "p")
	if err != nil {
		t.Fatal(err)
	}
	_, link, err := b.MakeLink(ctx, id, backup.ID, "p", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	secrets["link"], secrets["session"] = link, remora.NewToken()
	if err := b.OpenSession(ctx, remora.Session{Resource: id, Email: "owner@example.com"}, secrets["session"], "used"); err != nil {
		t.Fatal(err)
	}
	found := func() (in []string) {
		text := b.dump(t)
		for name, secret := range secrets {
			if low := strings.ToLower(secret); strings.Contains(text, low) || strings.Contains(text, hex.EncodeToString([]byte(secret))) || strings.Contains(text, hex.EncodeToString([]byte(low))) {
				in = append(in, name)
			}
		}
		return in
	}
	if in := found(); len(in) > 0 {
		t.Errorf("a dump shows: %v", in)
	}
	for _, want := range []string{"owner@example.com", string(backup.ID), "age1public", "akiadeletes"} { // what is in it, and is no secret
		if !strings.Contains(b.dump(t), want) {
			t.Errorf("the search does not see %q, so it proves nothing", want)
		}
	}
	// Planted, as text and as bytes, they are found.
	for _, leak := range []string{"UPDATE backups SET detail = $1", "UPDATE backups SET requested_by = encode($1::text::bytea, 'hex')"} {
		err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT set_config('remora.service', 'on', true)"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, leak, secrets["refresh token"])
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if in := found(); len(in) != 1 {
			t.Errorf("planted by %s: %v", leak, in)
		}
	}

	thief, _ := b.with(t, keyring.Generate("k1").Reveal()) // of the same name, even
	if _, err := thief.ResourceKey(ctx, fresh); !errors.Is(err, keyring.ErrCorrupt) {
		t.Errorf("another key ring opens a resource's key: %v", err)
	}
	if _, err := thief.Tokens(ctx, id); !errors.Is(err, keyring.ErrCorrupt) {
		t.Errorf("another key ring opens tokens: %v", err)
	}
	whole, _ := b.with(t, b.ring.Reveal())
	key, err := whole.ResourceKey(ctx, fresh)
	if err != nil || key.Reveal() != secrets["resource key"] {
		t.Errorf("our own key ring does not open it: %v", err)
	}
	// A hash of the dump is no token.
	for _, name := range []string{"link", "session"} {
		var hash string
		err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "SELECT set_config('remora.service', 'on', true)"); err != nil {
				return err
			}
			return tx.QueryRow(ctx, "SELECT encode(token_hash, 'hex') FROM "+name+"s").Scan(&hash)
		})
		if err != nil {
			t.Fatal(err)
		}
		_, serr := whole.Session(ctx, hash)
		_, _, lerr := whole.UseLink(ctx, hash, "thief")
		if serr == nil || remora.KindOf(lerr) != remora.KindNotFound {
			t.Errorf("the hash of a %s opens something: %v, %v", name, serr, lerr)
		}
	}
}
