package jobworkers

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// locate finds the credential of a database on its Helper App and reads its address. Errors are *remora.Failure.
func (w *Workers) locate(ctx context.Context, db remora.Database, helperApp string, at *stages) (customerdb.Target, error) {
	at.begin(stageCredential)
	url, err := w.credentialOf(ctx, db, helperApp)
	if err != nil {
		return customerdb.Target{}, err
	}
	cred, err := credential.Parse(url)
	if err != nil {
		return customerdb.Target{}, &remora.Failure{Reason: remora.ReasonBadURL, Detail: remora.Public(err, "")}
	}
	at.begin(stageServer)
	addr, err := w.Policy.Resolve(ctx, w.Resolver, cred.Host)
	var refused *dialer.RefusedError
	switch {
	case errors.As(err, &refused):
		return customerdb.Target{}, &remora.Failure{Reason: remora.ReasonHostRefused, Cause: err}
	case err != nil:
		return customerdb.Target{}, &remora.Failure{Reason: remora.ReasonUnreachable, Cause: err}
	}
	return customerdb.Target{Credential: cred, Addr: addr, AppName: pgdump.AppName}, nil
}

// credentialOf reads the config var of a database's named credential, now: it is found at each run and kept nowhere, so
// that rotations and failovers need nobody.
func (w *Workers) credentialOf(ctx context.Context, db remora.Database, helperApp string) (redact.Secret, error) {
	asking, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	var beside sync.WaitGroup
	var vars map[string]redact.Secret
	beside.Go(func() { // neither answer is quick, nor waits for the other
		var err error
		if vars, err = w.Heroku.ConfigVars(asking, w.ServiceToken, helperApp); err != nil {
			enough(err)
		}
	})
	list, err := w.Heroku.Attachments(asking, w.ServiceToken, helperApp)
	if err != nil {
		enough(err)
	}
	beside.Wait()
	if asking.Err() != nil { // its cause is the first refusal, which ended the other question
		return redact.Secret{}, herokuFailure(shared(context.Cause(asking)))
	}
	return named(list, vars, db)
}

// named takes, of the attachments of a database, the one that the page names; where that is attached no longer, the one that choose
// takes, whatever order Heroku lists them in.
func named(list []herokuapi.Attachment, vars map[string]redact.Secret, db remora.Database) (redact.Secret, error) {
	why := remora.ReasonDetached
	inUse := func(a herokuapi.Attachment) int {
		if a.Name == db.Attachment && a.Credential() == db.Credential {
			return 0
		}
		return 1
	}
	slices.SortFunc(list, func(a, b herokuapi.Attachment) int { return cmp.Or(inUse(a)-inUse(b), byName(a, b)) })
	for _, a := range list {
		if a.Addon.ID != db.AddonID {
			continue
		}
		if a.Credential() == "" {
			why = remora.ReasonOwnerCredential
			continue
		}
		if url := vars[a.Name+"_URL"]; !url.IsZero() {
			return url, nil
		}
	}
	return redact.Secret{}, &remora.Failure{Reason: why}
}

// herokuFailure names what a failed call to Heroku means for a run.
func herokuFailure(err error) error {
	var f *remora.Failure
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, herokuapi.ErrUnavailable), errors.Is(err, herokuapi.ErrRateLimited):
		return &remora.Failure{Reason: remora.ReasonHerokuUnavailable, Cause: err}
	}
	return &remora.Failure{Reason: remora.ReasonInternal, Cause: err}
}
