package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/internal/keyring"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// with is another store on the bundle's database, as a process with that ring has it.
func (b *bundle) with(t *testing.T, setting string) (*postgres.Store, *keyring.Keyring) {
	t.Helper()
	keys, err := keyring.Parse(redact.New(setting))
	if err != nil {
		t.Fatal(err)
	}
	s, err := postgres.New(postgres.Config{Pool: b.pool, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return s, keys
}

// After a rotation the old key is needed for nothing: not for a value of any column that holds sealed ones, and not for what
// it has signed. Broken off, it is taken up again; what a running process seals meanwhile is not lost.
func TestTheMasterKeyIsRotated(t *testing.T) {
	t.Parallel()
	b := newBundle(t)
	ctx := t.Context()
	newest := keyring.Generate("k2").Reveal()
	both := newest + "," + b.ring.Reveal()
	var ids []remora.ResourceID
	for range 3 {
		id := b.resource(t, "db")
		ids = append(ids, id)
		for _, c := range []remora.NewChannel{
			{Kind: remora.ChannelEmail, Shown: "o…@example.com", Address: redact.New("Owner@example.com")}, {Kind: remora.ChannelWebhook, Shown: "https://x", Address: redact.New("https://example.com/hook")},
		} {
			if _, _, err := b.AddChannel(ctx, id, c, "p"); err != nil {
				t.Fatal(err)
			}
		}
		o, err := b.Overview(ctx, id)
		if err == nil {
			keys := remora.BucketKeys{AccessKey: "writes", SecretKey: redact.New("writes-secret"), DeleteAccessKey: "deletes", DeleteSecretKey: redact.New("deletes-secret")}
			for _, bucket := range []string{"former", "theirs"} { // two rows of one resource
				err = errors.Join(err, b.SetBucket(ctx, id, remora.Place{Endpoint: "https://s3.example.com", Bucket: bucket}, keys, remora.BucketLock{}, "p"))
			}
			err = errors.Join(err, b.MakeBadge(ctx, id, o.Databases[0].ID, false, "p"), b.SetPing(ctx, id, o.Databases[0].ID, redact.New("https://example.com/ping"), false, "p"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	removed := b.resource(t, "db") // whose receipt's address its channels have yet to hear
	b.channel(t, removed, remora.ChannelWebhook, "https://example.com/last")
	if err := b.DeprovisionResource(ctx, removed); err != nil {
		t.Fatal(err)
	}
	grant := remora.NewID[remora.ResourceID]() // which has not been exchanged yet
	if _, err := b.ProvisionResource(ctx, provision(grant), redact.New("key of the last"), "age1"); err != nil {
		t.Fatal(err)
	}
	signed, err := b.Keys.MAC("manifest", []byte("a manifest"))
	if err != nil {
		t.Fatal(err)
	}

	rotating, _ := b.with(t, both)
	before, err := rotating.KeyUses(ctx)
	if err != nil || slices.ContainsFunc(before, func(u postgres.KeyUse) bool { return u.Key != "k1" }) {
		t.Fatal(before, err)
	}
	// Broken off after the first column.
	stopped, stop := context.WithCancel(ctx)
	if _, err := rotating.Reseal(stopped, []string{"manifest"}, func(string, int) { stop() }); !errors.Is(err, context.Canceled) {
		t.Fatal("it was not broken off: ", err)
	}
	// A process with the old ring goes on sealing; and a value is written in the very moment.
	if err := b.SaveTokens(ctx, ids[0], redact.New("newer access"), redact.New("newer refresh"), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	once := true
	done, err := rotating.Reseal(ctx, []string{"manifest"}, func(column string, _ int) {
		if once && strings.HasPrefix(column, "resources.") {
			once = false
			if err := rotating.SaveTokens(ctx, ids[1], redact.New("newest access"), redact.New("newest refresh"), time.Now().Add(time.Hour)); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || len(done.Failed) != 0 || done.Values == 0 {
		t.Fatal(done, err)
	}
	if again, err := rotating.Reseal(ctx, []string{"manifest"}, func(string, int) {}); err != nil || again.Values != 0 || len(again.Failed) != 0 {
		t.Error("a second time there is still something to do: ", again, err)
	}
	after, err := rotating.KeyUses(ctx)
	if err != nil || slices.ContainsFunc(after, func(u postgres.KeyUse) bool { return u.Key != "k2" }) {
		t.Fatal(after, err)
	}
	was, is := map[string]int64{}, map[string]int64{}
	for _, u := range before {
		was[u.Column] = u.Values
	}
	for _, u := range after {
		is[u.Column] = u.Values
	}
	for column, n := range was {
		if is[column] != n {
			t.Errorf("%s: %d values were there, and %d are", column, n, is[column])
		}
	}
	var columns int
	if err := b.pool.QueryRow(ctx, `SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' AND column_name LIKE 'sealed\_%'`).Scan(&columns); err != nil || columns != len(was)+1 {
		t.Errorf("%d columns hold sealed values, and this test fills %d: %v", columns, len(was)+1, err) // one more is of the retired keys
	}

	// Without the old key everything opens.
	alone, ring := b.with(t, newest)
	if err := errors.Join(alone.CheckKeys(ctx), alone.Remember(ctx)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"newer access", "newest access", "access"} {
		got, err := alone.Tokens(ctx, ids[i])
		if err != nil || got.Access.Reveal() != want {
			t.Errorf("tokens of %d: %v", i, err)
		}
		key, err := alone.ResourceKey(ctx, ids[i])
		if err != nil || key.Reveal() != "key" {
			t.Error(err)
		}
		o, err := alone.Overview(ctx, ids[i])
		if err != nil {
			t.Fatal(err)
		}
		buckets, err := alone.Buckets(ctx, ids[i])
		if err != nil || len(buckets) != 2 {
			t.Fatal(buckets, err)
		}
		for _, x := range buckets {
			if _, keys, err := alone.OpenBucket(ctx, ids[i], x.ID); err != nil || keys.SecretKey.Reveal() != "writes-secret" || keys.DeleteSecretKey.Reveal() != "deletes-secret" {
				t.Error(err)
			}
		}
		if out, err := alone.Outside(ctx, ids[i], o.Databases[0].ID); err != nil || len(out.Badge.Token.Reveal()) != 64 {
			t.Error(err)
		}
	}
	if got, err := alone.Tokens(ctx, grant); err != nil || got.Grant.Reveal() != "grant-code" {
		t.Error(err)
	}
	// The same address is known again.
	_, _, err = alone.AddChannel(ctx, ids[0], remora.NewChannel{Kind: remora.ChannelEmail, Shown: "o…@example.com", Address: redact.New("owner@EXAMPLE.com")}, "p")
	if remora.KindOf(err) != remora.KindConflict {
		t.Error("the same address is taken for another: ", err)
	}
	if !ring.CheckMAC("manifest", []byte("a manifest"), signed) || ring.CheckMAC("manifest", []byte("another"), signed) || ring.CheckMAC("key challenge", []byte("a manifest"), signed) {
		t.Error("what the old key has signed")
	}

	// And once more, with a value that does not open: it is told, and the others go on.
	if _, err := b.pool.Exec(ctx, "BEGIN; SELECT set_config('remora.service', 'on', true); UPDATE resources SET sealed_refresh = set_byte(sealed_refresh, 30, get_byte(sealed_refresh, 30) # 1) WHERE id = '"+string(ids[2])+"'; COMMIT"); err != nil {
		t.Fatal(err)
	}
	third := keyring.Generate("k3").Reveal()
	last, _ := b.with(t, third+","+newest)
	done, err = last.Reseal(ctx, []string{"manifest"}, func(string, int) {})
	if err != nil || len(done.Failed) != 1 || done.Failed[0] != "resources.sealed_refresh of "+string(ids[2]) {
		t.Error(done, err)
	}
	final, ring := b.with(t, third)
	if err := final.Remember(ctx); err != nil || !ring.CheckMAC("manifest", []byte("a manifest"), signed) {
		t.Error("what the first key has signed is not known after the second rotation: ", err)
	}
	uses, err := final.KeyUses(ctx)
	if err != nil || !slices.ContainsFunc(uses, func(u postgres.KeyUse) bool { return u.Key == "k2" && u.Values == 1 }) {
		t.Error(uses, err)
	}
}
