package operator_test

import (
	"flag"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/internal/browsertest"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// screenshots is where TestPages writes what it sees; nowhere where it is empty.
var screenshots = flag.String("screenshots", "", "folder to write a picture of every page into")

// tab is a page in the browser of an operator, who was asked for the password once.
func (s *site) tab(t *testing.T) *browsertest.Tab {
	t.Helper()
	b := browsertest.Open(t, s.url, true)
	b.Open(strings.Replace(s.url, "://", "://"+url.UserPassword("ops@example.com", password).String()+"@", 1) + "/operator")
	b.Await("The queue’s pages are River’s own")
	return b
}

// busy gives the service something to look at in every part of its page: add-ons in all states, a run whose lease has
// ended, a deletion that fails.
func (s *site) busy(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	s.tenant(t)
	for i, plan := range []string{"test", "mako", "hammerhead", "great-white", "mako"} {
		id := remora.NewID[remora.ResourceID]()
		_, err := s.ProvisionResource(ctx, remora.Provision{ID: id, Name: "remora-backup-round-" + string(id[:4]), Plan: plan, Region: "eu", Grant: redact.New("grant")}, redact.New("key"), "age1")
		if err == nil && i > 0 {
			err = s.SetReady(ctx, id, "app-id", "helper")
		}
		if err == nil && i > 1 {
			err = s.SaveFound(ctx, id, "helper", []postgres.Found{{AddonID: "id-1", Addon: "postgresql-round-1", OwnerApp: "shop", Attachment: "DB", Credential: "remora_ro"}})
		}
		if err != nil {
			t.Fatal(err)
		}
		if i < 2 {
			continue
		}
		o, err := s.Overview(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.ClaimBackup(ctx, o.Backups[0].ID, "worker.1")
		if err == nil && i != 3 {
			err = s.KeepBackup(ctx, c, remora.Kept{ServerVersion: "15.18", ClientVersion: "15.18", ClientMajor: 15, ArchiveVersion: "1.14", Tables: 48, Rows: 1_200_000, PlainSize: 310_000_000, Objects: []remora.Object{{Name: "body-001", Size: 290_000_000, SHA256: []byte{1}}}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Pool.Exec(ctx, `BEGIN; SELECT set_config('remora.service', 'on', true);
		UPDATE runs SET started_at = now() - interval '3 hours', lease_until = now() - interval '2 hours' WHERE state = 'claimed';
		UPDATE backups SET state = 'expired', expired_at = now() - interval '3 days', delete_at = now() - interval '2 days', delete_attempts = 7
		 WHERE id = (SELECT id FROM backups WHERE state = 'verified' LIMIT 1); COMMIT`)
	if err != nil {
		t.Fatal(err)
	}
}

// Our own pages are clean by every rule of axe-core, in light, dark and on a telephone. River's own, which it styles and
// draws itself, load what they need under the policy, show our jobs, and leave nothing on the console.
func TestPages(t *testing.T) {
	t.Parallel()
	quiet, busy := newSite(t, true), newSite(t, true)
	busy.busy(t)
	queue := func(words ...string) func(*browsertest.Tab) {
		return func(b *browsertest.Tab) {
			for _, w := range words {
				b.Await(w)
			}
		}
	}
	for _, x := range []struct {
		name, path string
		site       *site
		river      func(*browsertest.Tab) // waits until River's script has drawn its page; nil for ours
	}{
		{"operator-service-quiet", "/operator", quiet, nil},
		{"operator-service-busy", "/operator", busy, nil},
		{"operator-add-ons", "/operator/find", quiet, nil},
		{"operator-add-ons-nothing-found", "/operator/find?q=nobody", quiet, nil},
		{"operator-add-on", "/operator/resources/" + string(busy.id), busy, nil},
		{"operator-queue", "/operator/queue/jobs?state=available", busy, queue("find_databases")},
		{"operator-queue-job", "/operator/queue/jobs/1", busy, queue("The log has it")},
		{"operator-queue-queues", "/operator/queue/queues", busy, queue("Queues")},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			b := x.site.tab(t)
			b.Look(1280, 900, "light")
			b.Open(x.path)
			if x.river != nil {
				x.river(b)
				b.Quiet(x.name)
			} else {
				b.Clean(x.name + " light")
			}
			shoot(b, x.name+"-light")
			b.Look(1280, 900, "dark")
			if x.river == nil {
				b.Clean(x.name+" dark", "color-contrast", "link-in-text-block")
			}
			shoot(b, x.name+"-dark")
			b.Look(360, 740, "light")
			if x.river == nil {
				b.Fits(x.name + " phone")
			}
			shoot(b, x.name+"-phone")
		})
	}
}

// An operator comes from the service's page to what is stuck, and finds an add-on by its name.
func TestFromTheServiceToAnAddOn(t *testing.T) {
	t.Parallel()
	s := newSite(t, true)
	s.busy(t)
	b := s.tab(t)
	b.Await("1 run is stuck, 1 deletion fails or is late")
	if got := b.Press(`nav a[href="/operator/find"]`); got != 200 {
		t.Fatal(got)
	}
	b.Fill("#q", "Remora-Backup-Clean-1")
	if got := b.Press(`form[action="/operator/find"] button`); got != 200 {
		t.Fatal(got)
	}
	b.Await("That you looked is in its audit log")
	b.Await("permission_denied")
	b.Quiet("add-on")
}

func shoot(b *browsertest.Tab, name string) {
	if *screenshots != "" {
		b.Picture(filepath.Join(*screenshots, name+".png"))
	}
}
