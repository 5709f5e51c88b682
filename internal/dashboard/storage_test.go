package dashboard_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

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
		found.Lock = remora.BucketLock{State: remora.BucketLockCompliance, Days: 14}
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
	says(t, n.do(t, "GET", storagePage).body, "New backups lie in your own bucket, backups-one.", "owner@example.com", "Amazon S3, region eu-west-1", "AKIADELETES</code> deletes", "0 in it", "Use our bucket again", "On, in compliance mode: what we write to it cannot be deleted or changed by anybody for 14 days.", "not", "canary", "could be better")
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
