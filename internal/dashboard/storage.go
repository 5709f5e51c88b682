package dashboard

import (
	"cmp"
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// BucketStore is what the page about storage needs.
type BucketStore interface {
	Buckets(ctx context.Context, id remora.ResourceID) ([]remora.Bucket, error)
	SetBucket(ctx context.Context, id remora.ResourceID, p remora.Place, keys remora.BucketKeys, lock remora.BucketLock, person string) error
	SetSecondPlace(ctx context.Context, id remora.ResourceID, p remora.Place, keys remora.BucketKeys, lock remora.BucketLock, person string) error
	LeaveBucket(ctx context.Context, id remora.ResourceID, person string) error
	RemoveBucket(ctx context.Context, id remora.ResourceID, bucket remora.BucketID, person string) error
}

// storageURL is the address of the page.
const storageURL = Home + "/settings/storage"

// storagePage is where archives lie.
type storagePage struct {
	Frame         frame
	Now           *remora.Bucket  // the customer's own that is in use; nil where it is ours
	Copies        *remora.Bucket  // the customer's own that takes copies; nil where none does
	NoCopies      string          // why the plan makes no copies; empty where it does
	As            string          // what the form has the bucket be: own, copies
	Former        []remora.Bucket // that backups or copies lie in, or may
	Place         remora.Place    // as the form has it
	AccessKey     string
	DeleteKey     string
	Wrong         string // what is wrong with what was sent
	Removing      string // why a bucket was not removed
	WriterDeletes bool   // the key that writes may delete too, although another one was given for that
}

func (p *Pages) storageRoutes(r chi.Router) {
	r.Get(storageURL, p.with(p.storage))
	r.Post(storageURL, p.with(p.setStorage))
	r.Post(storageURL+"/leave", p.with(p.leaveStorage))
	r.Post(storageURL+"/{bucket}/remove", p.with(p.removeStorage))
}

func (p *Pages) storagePage(r *http.Request, s remora.Session) (storagePage, error) {
	resource, err := p.Store.Resource(r.Context(), s.Resource)
	if err != nil {
		return storagePage{}, err
	}
	page := storagePage{Frame: frame{"Storage", "settings", resource}, As: asOwn}
	plan, err := resource.Limits(p.Now())
	if err != nil {
		return page, err
	}
	page.NoCopies = remora.Public(plan.Copies(), "")
	all, err := p.Store.Buckets(r.Context(), s.Resource)
	for _, b := range all {
		switch {
		case b.InUse:
			page.Now = &b
		case b.TakesCopies:
			page.Copies, page.As = &b, asCopies
		default:
			page.Former = append(page.Former, b)
		}
	}
	if b := page.Theirs(); b != nil {
		page.Place, page.AccessKey, page.DeleteKey = b.Place, b.AccessKey, b.DeleteAccessKey
	}
	return page, err
}

// What a bucket of the customer's can be, as the form calls it.
const (
	asOwn    = "own"    // new backups lie in it
	asCopies = "copies" // they lie in ours, and a copy of each in it
)

// Theirs is the customer's bucket that anything new lies in; nil where there is none.
func (p storagePage) Theirs() *remora.Bucket { return cmp.Or(p.Now, p.Copies) }

func (p *Pages) storage(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.storagePage(r, s)
	if err != nil {
		return err
	}
	page.WriterDeletes = page.Theirs() != nil && r.URL.Query().Has("deletes")
	return p.render(w, http.StatusOK, "storage.html", page)
}

// setStorage tries a bucket out and has it be used. Secret keys are on no page again.
func (p *Pages) setStorage(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.storagePage(r, s)
	if err != nil {
		return err
	}
	page.Place = remora.Place{
		Endpoint: typed(r, "endpoint"), Region: typed(r, "region"), Bucket: typed(r, "bucket"), Prefix: typed(r, "prefix"), PathStyle: r.PostFormValue("path_style") != "",
	}
	keys := remora.BucketKeys{
		AccessKey: typed(r, "access_key"), SecretKey: redact.New(typed(r, "secret_key")), DeleteAccessKey: typed(r, "delete_access_key"), DeleteSecretKey: redact.New(typed(r, "delete_secret_key")),
	}
	page.AccessKey, page.DeleteKey = keys.AccessKey, keys.DeleteAccessKey
	set := p.Store.SetBucket
	switch page.As = typed(r, "as"); {
	case page.As == asCopies:
		set = p.Store.SetSecondPlace
	case page.As == "" && page.Copies == nil:
		page.As = asOwn
	case page.As != asOwn: // where backups lie is changed by nobody who does not say so
		page.Wrong = "Choose what the bucket is for."
		return p.render(w, http.StatusUnprocessableEntity, "storage.html", page)
	}
	found, err := p.Probe(r.Context(), s.Resource, page.Place, keys)
	if err == nil {
		err = set(r.Context(), s.Resource, page.Place, keys, found.ObjectLock, s.Person())
	}
	switch kind := remora.KindOf(err); {
	case kind == remora.KindInvalid || kind == remora.KindPlanLimit || kind == remora.KindBusy:
		page.Wrong = remora.Public(err, "")
		return p.render(w, http.StatusUnprocessableEntity, "storage.html", page)
	case err != nil:
		return err
	}
	to := storageURL
	if found.WriterDeletes {
		to += "?deletes"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (p *Pages) leaveStorage(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	if err := p.Store.LeaveBucket(r.Context(), s.Resource, s.Person()); err != nil {
		return err
	}
	http.Redirect(w, r, storageURL, http.StatusSeeOther)
	return nil
}

func (p *Pages) removeStorage(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	bucket, err := remora.KnownID[remora.BucketID](chi.URLParam(r, "bucket"), "bucket")
	if err == nil {
		err = p.Store.RemoveBucket(r.Context(), s.Resource, bucket, s.Person())
	}
	if remora.KindOf(err) == remora.KindConflict {
		page, perr := p.storagePage(r, s)
		if perr != nil {
			return perr
		}
		page.Removing = remora.Public(err, "")
		return p.render(w, http.StatusConflict, "storage.html", page)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, storageURL, http.StatusSeeOther)
	return nil
}

// storagePart is what the settings page says of it.
func storagePart(p *Pages, r *http.Request, s remora.Session) (*part, error) {
	page, err := p.storagePage(r, s)
	return &part{"storage", "Storage", "storagepart", page}, err
}
