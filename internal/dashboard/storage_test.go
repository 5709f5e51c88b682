package dashboard_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/remora-backup/remora/internal/browsertest"
	"github.com/remora-backup/remora/internal/remora"
)

const storagePage = "/dashboard/settings/storage"

// probe takes any bucket but one that is called nobodys; of the key AKIAUSELESS it says that the other one deletes too,
// and of the bucket backups-one that it locks what is written to it.
func probe(_ context.Context, _ remora.ResourceID, p remora.Place, keys remora.BucketKeys) (found remora.Probed, err error) {
	if p, err := remora.ParsePlace(p); err != nil || p.Bucket == "nobodys" {
		return found, remora.Invalid("The bucket cannot be used: writing an object failed. There is no bucket of this name at this endpoint.")
	}
	if p.Bucket == "backups-one" {
		found.ObjectLock = remora.BucketLock{State: remora.BucketLockCompliance, Days: 14}
	}
	found.WriterDeletes = keys.DeleteAccessKey == "AKIAUSELESS"
	return found, nil
}

// bucketForm is what a person fills in.
func bucketForm(bucket string) url.Values {
	return url.Values{
		"endpoint": {"https://s3.eu-west-1.amazonaws.com"}, "region": {"eu-west-1"}, "bucket": {bucket}, "prefix": {"remora"},
		"access_key": {"AKIAWRITES"}, "secret_key": {"canary-secret"}, "delete_access_key": {"AKIADELETES"}, "delete_secret_key": {"canary-deletes"},
	}
}

// A bucket is used once it was tried, stays where backups lie in it, and is removed when nothing needs it; its secret keys are on no
// page and in no log.
func TestABucketOfOnesOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	says(t, n.do(t, "GET", "/dashboard/settings").body, "New backups lie in our bucket", storagePage)
	says(t, n.do(t, "GET", storagePage).body, "New backups lie in our bucket.", "Use your own bucket", "We delete nothing in a bucket of yours", "not", "Use our bucket again", "older backups")
	for _, wrong := range []url.Values{bucketForm("nobodys"), bucketForm("a/b"), bucketForm("")} {
		a := n.post(t, storagePage, wrong)
		if a.StatusCode != http.StatusUnprocessableEntity {
			t.Error(a.Status)
		}
		says(t, a.body, `role="alert"`, "The bucket cannot be used", `value="AKIAWRITES"`, `value="https://s3.eu-west-1.amazonaws.com"`, "not", "canary")
	}
	half := bucketForm("backups-one")
	half.Del("delete_secret_key")
	says(t, n.post(t, storagePage, half).body, "give both halves", "not", "canary")
	if a := n.post(t, storagePage, bucketForm("backups-one")); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != storagePage {
		t.Fatal(a.Status, a.body)
	}
	says(t, n.do(t, "GET", storagePage).body, "New backups lie in your own bucket, backups-one.", "owner@example.com", "Amazon S3, region eu-west-1", "AKIADELETES</code> deletes", "0 backups</dd>", "Use our bucket again", "On, in compliance mode: what we write to it cannot be deleted or changed by anybody for 14 days.", "not", "canary", "could be better")
	says(t, n.do(t, "GET", "/dashboard/settings").body, "backups-one/remora at s3.eu-west-1.amazonaws.com", "not", "canary")
	if _, keys, err := s.OpenBucket(t.Context(), n.id, n.bucket(t, 0).ID); err != nil || keys.SecretKey.Reveal() != "canary-secret" || keys.DeleteSecretKey.Reveal() != "canary-deletes" {
		t.Error(err)
	}
	b := n.keep(t)
	says(t, n.do(t, "GET", "/dashboard/backups/"+string(b.ID)).body, "in your own bucket", "backups-one/remora at s3.eu-west-1.amazonaws.com", "Amazon S3, region eu-west-1", "remora/r/"+string(n.id)+"/b/")

	other := bucketForm("backups-two")
	other.Set("delete_access_key", "AKIAUSELESS")
	if a := n.post(t, storagePage, other); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != storagePage+"?deletes" {
		t.Fatal(a.Status, a.body)
	}
	says(t, n.do(t, "GET", storagePage+"?deletes").body, "The key that writes may delete too", "older backups lie in", "1 backup in it", "not", "Object Lock")
	old := n.bucket(t, 1).ID
	remove := storagePage + "/" + string(old) + "/remove"
	if a := n.post(t, remove, nil); a.StatusCode != http.StatusConflict || !strings.Contains(a.body, "Backups that are listed lie in this bucket") {
		t.Error(a.Status, a.body)
	}
	if a := n.post(t, storagePage+"/leave", nil); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status)
	}
	says(t, n.do(t, "GET", storagePage).body, "New backups lie in our bucket.", "backups-two/remora")
	if a := n.post(t, storagePage+"/"+string(n.bucket(t, 0).ID)+"/remove", nil); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status, a.body)
	}
	says(t, n.do(t, "GET", storagePage).body, "backups-one/remora", "not", "backups-two")

	neighbour := s.tenant(t, shop())
	if a := neighbour.post(t, remove, nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("a neighbour: %s", a.Status)
	}
	says(t, neighbour.do(t, "GET", storagePage).body, "not", "backups-one")
	if log := s.log.String(); strings.Contains(log, "canary") {
		t.Error("a secret key is in the log")
	}
}

// stores has the tenant use a bucket of a name.
func (n *tenant) stores(t *testing.T, bucket string) {
	t.Helper()
	if a := n.post(t, storagePage, bucketForm(bucket)); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status, a.body)
	}
}

// copies has the tenant's backups be copied to a bucket of a name, on a plan that has a second place.
func (n *tenant) copies(t *testing.T, bucket string) {
	t.Helper()
	form := bucketForm(bucket)
	form.Set("as", "copies")
	if a := n.post(t, storagePage, form); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status, a.body)
	}
}

// plan moves the tenant to another.
func (n *tenant) plan(t *testing.T, slug string) {
	t.Helper()
	if _, err := n.ChangePlan(t.Context(), n.id, slug); err != nil {
		t.Fatal(err)
	}
}

// copied brings the newest copy of a backup to its end, a good one where f is nil.
func (n *tenant) copied(t *testing.T, b remora.BackupID, f *remora.Failure) {
	t.Helper()
	all, err := n.Copies(t.Context(), n.id, b)
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	c, err := n.ClaimCopy(t.Context(), b, all[0].Bucket)
	if err == nil && f == nil {
		err = n.EndCopy(t.Context(), c, 4_200_321)
	}
	if err == nil && f != nil {
		_, err = n.FailCopy(t.Context(), c, *f)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A second place is for plans that have one; the page of a backup says of each copy where it lies, or why not and what to do, and
// copies again when asked.
func TestABackupInTwoPlaces(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	n := s.tenant(t, shop())
	says(t, n.do(t, "GET", storagePage).body, "Plan mako has no second place for backups.", `value="copies" required disabled`)
	form := bucketForm("backups-one")
	form.Set("as", "copies")
	a := n.post(t, storagePage, form)
	says(t, a.body, `role="alert"`, "remora-backup:hammerhead", "not", "canary")
	if a.StatusCode != http.StatusUnprocessableEntity {
		t.Error(a.Status)
	}
	n.plan(t, "hammerhead")
	first := n.keep(t)
	at := "/dashboard/backups/" + string(first.ID)
	says(t, n.do(t, "GET", at).body, "in our bucket", "not", "Where it lies", "Copy it to your bucket")
	n.copies(t, "backups-one")
	says(t, n.do(t, "GET", storagePage).body, "New backups lie in our bucket, and a copy of each in yours, backups-one.", "Make no more copies", `value="copies" required checked`, "0 copies</dd>", "not", "No new copies", "canary")
	says(t, n.do(t, "GET", "/dashboard/settings").body, "and a copy of each in yours", "backups-one/remora at s3.eu-west-1.amazonaws.com")
	says(t, n.do(t, "GET", at).body, "Where it lies", "Copy it to your bucket")
	if a := n.post(t, at+"/copy", nil); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != at+"#places" {
		t.Fatal(a.Status, a.body)
	}
	says(t, n.do(t, "GET", at).body, "to be copied", "It waits for its turn", "backups-one/remora at s3.eu-west-1.amazonaws.com", "Amazon S3, region eu-west-1", "not", "Copy it to your bucket")
	n.copied(t, first.ID, &remora.Failure{Reason: remora.ReasonOwnBucketFailed, Detail: "The store did not answer."})
	says(t, n.do(t, "GET", at).body, "The last attempt failed", "The store did not answer.", "The next attempt is at")
	s.ahead += 10 * time.Minute
	n.copied(t, first.ID, &remora.Failure{Reason: remora.ReasonOwnBucketRefused, Detail: "The key may not write an object (s3:PutObject)."})
	says(t, n.do(t, "GET", at).body, "not copied", "The key may not write", "ask for the copy again", "Copy it to your bucket", "not", "and from the copy")
	if a := n.post(t, at+"/copy", nil); a.StatusCode != http.StatusSeeOther {
		t.Fatal(a.Status, a.body)
	}
	n.copied(t, first.ID, nil)
	says(t, n.do(t, "GET", at).body, "copied</span>", "4.2 MB, the same sealed files", "and from the copy where they cannot be", "not", "Copy it to your bucket", "not copied")
	if a := n.post(t, at+"/copy", nil); a.StatusCode != http.StatusConflict {
		t.Error(a.Status)
	}
	says(t, n.do(t, "GET", storagePage).body, "1 copy</dd>")
	// After a smaller plan's grace no copies are made, and what is copied stays.
	n.plan(t, "mako")
	says(t, n.do(t, "GET", storagePage).body, "and a copy of each in yours")
	s.ahead += remora.PlanGrace + time.Hour
	n.session = remora.NewToken() // the visit has ended too
	if err := n.OpenSession(t.Context(), remora.Session{Resource: n.id, Email: "owner@example.com"}, n.session, "again"); err != nil {
		t.Fatal(err)
	}
	says(t, n.do(t, "GET", storagePage).body, "New backups lie in our bucket.", "No new copies are made", "Plan mako has no second place", "Make no more copies",
		`Ours <span class="state good">now`, `value="copies" required checked`, "not", `Both <span class="state good">now`)
	// Other keys move no backups: not without a word of what the bucket is for, and not with the old one.
	if a := n.post(t, storagePage, bucketForm("backups-one")); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Choose what the bucket is for") {
		t.Error(a.Status)
	}
	n.copies(t, "backups-one")
	if all, err := n.Buckets(t.Context(), n.id); err != nil || len(all) != 1 || all[0].InUse || !all[0].TakesCopies {
		t.Errorf("%+v %v", all, err)
	}
	says(t, n.do(t, "GET", at).body, "copied</span>", "not", "Copy it to your bucket")
	if a := n.post(t, storagePage+"/leave", nil); a.StatusCode != http.StatusSeeOther {
		t.Error(a.Status)
	}
	says(t, n.do(t, "GET", storagePage).body, "or copies of such", "0 backups and 1 copy in it", "not", "No new copies", "Make no more copies")
	n.proved(t, first, remora.ProofReread, remora.ProofOutcome{State: remora.ProofFailed, Reason: remora.ReasonObjectDamaged})
	says(t, n.do(t, "GET", at).body, "Damaged, as is said above. The copy opens with", "copied</span>", "not", "Downloads are served")
}

// bucket is one of the tenant's.
func (n *tenant) bucket(t *testing.T, i int) remora.Bucket {
	t.Helper()
	all, err := n.Buckets(t.Context(), n.id)
	if err != nil || len(all) <= i {
		t.Fatal(all, err)
	}
	return all[i]
}

// The page is as clean as every other, in each of its states, and fits a phone.
func TestStorageInABrowser(t *testing.T) {
	t.Parallel()
	n := newSite(t).tenant(t, shop())
	b := n.tab(t, true)
	for _, state := range []string{"ours", "wrong", "own"} {
		b.Look(1280, 900, "light")
		b.Open(storagePage)
		if state != "ours" {
			name := map[string]string{"wrong": "nobodys", "own": "backups-one"}[state]
			browsertest.Eval[chromedp.Void](b, `for (const [name, value] of Object.entries({endpoint: "https://s3.eu-west-1.amazonaws.com", region: "eu-west-1", bucket: "`+name+`", prefix: "remora", access_key: "AKIAWRITES", secret_key: "x"})) document.querySelector("#" + name).value = value`)
			b.Press(`#use button`)
			b.Await(map[string]string{"wrong": "cannot be used", "own": "in your own bucket"}[state])
		}
		b.Clean("storage, " + state)
		picture(b, "storage-"+state)
		b.Look(1280, 900, "dark")
		b.Clean("storage, dark, " + state)
		picture(b, "storage-dark-"+state)
		b.Look(360, 740, "light")
		b.Fits("storage, on a phone, " + state)
		picture(b, "storage-phone-"+state)
	}
}
