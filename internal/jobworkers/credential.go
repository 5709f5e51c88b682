package jobworkers

import (
	"context"
	"errors"

	"github.com/remora-backup/remora/internal/credential"
	"github.com/remora-backup/remora/internal/customerdb"
	"github.com/remora-backup/remora/internal/dialer"
	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/pgdump"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// source is a database as it can be reached now: found at each run and kept nowhere, so that rotations and
// failovers need nobody.
type source struct {
	customerdb.Target
	server customerdb.Server
	client pgdump.Client
}

// locate finds the credential of the claimed database on the Helper App, reads its address, and asks the
// server who it is. Errors are *remora.Failure.
func (w *Workers) locate(ctx context.Context, c postgres.Claim, at *stages) (source, error) {
	at.begin(stageCredential)
	url, err := w.credentialOf(ctx, c)
	if err != nil {
		return source{}, err
	}
	cred, err := credential.Parse(url)
	if err != nil {
		return source{}, &remora.Failure{Reason: remora.ReasonBadURL, Detail: remora.Public(err, "")}
	}
	at.begin(stageServer)
	addr, err := w.Policy.Resolve(ctx, w.Resolver, cred.Host)
	var refused *dialer.RefusedError
	switch {
	case errors.As(err, &refused):
		return source{}, &remora.Failure{Reason: remora.ReasonHostRefused, Cause: err}
	case err != nil:
		return source{}, &remora.Failure{Reason: remora.ReasonUnreachable, Cause: err}
	}
	s := source{Target: customerdb.Target{Credential: cred, Addr: addr, AppName: pgdump.AppName}}
	if s.server, err = customerdb.Inspect(ctx, s.Target); err != nil {
		return source{}, err
	}
	s.client, _, err = pgdump.Choose(w.Clients, s.server.Major)
	return s, err
}

// credentialOf reads the config var of the database's named credential.
func (w *Workers) credentialOf(ctx context.Context, c postgres.Claim) (redact.Secret, error) {
	list, err := w.Heroku.Attachments(ctx, w.ServiceToken, c.HelperAppID())
	if err != nil {
		return redact.Secret{}, herokuFailure(shared(err))
	}
	vars, err := w.Heroku.ConfigVars(ctx, w.ServiceToken, c.HelperAppID())
	if err != nil {
		return redact.Secret{}, herokuFailure(shared(err))
	}
	why := remora.ReasonDetached
	for _, a := range list {
		if a.Addon.ID != c.Database.AddonID {
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
