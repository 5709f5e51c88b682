package jobworkers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/riverqueue/river"

	"github.com/remora-backup/remora/internal/herokuapi"
	"github.com/remora-backup/remora/internal/jobargs"
	"github.com/remora-backup/remora/internal/postgres"
	"github.com/remora-backup/remora/internal/redact"
	"github.com/remora-backup/remora/internal/remora"
)

// findDatabases lists what is attached to the Helper App, with our service account's token: one call of its quota, which
// all resources share (docs/heroku-quota.md). Config vars are read at a run only.
type findDatabases struct {
	river.WorkerDefaults[jobargs.FindDatabases]
	*Workers
}

// Work implements river.Worker.
func (w *findDatabases) Work(ctx context.Context, job *river.Job[jobargs.FindDatabases]) error {
	id := job.Args.Resource
	if wait := w.patient.Wait(w.ServiceToken); wait > 0 {
		return river.JobSnooze(wait)
	}
	n, err := w.find(ctx, id, job.Args.Asked)
	var failed *remora.Failure
	switch {
	case remora.KindOf(err) == remora.KindGone:
		return nil
	case errors.As(err, &failed):
		w.Log.InfoContext(ctx, "databases cannot be listed", "resource_id", id, "reason", failed.Reason, "error", err)
		return w.Store.SetAttention(ctx, id, failed.Reason)
	case err != nil:
		w.Log.Log(ctx, level(err), "databases were not listed", "resource_id", id, "attempt", job.Attempt, "error", err)
		return cmp.Or(later(err), err)
	}
	w.Log.InfoContext(ctx, "databases listed", "resource_id", id, "databases", n)
	return nil
}

func (w *findDatabases) find(ctx context.Context, id remora.ResourceID, asked bool) (int, error) {
	if asked {
		if err := w.again(ctx, id); err != nil {
			return 0, err
		}
	}
	r, err := w.Store.Resource(ctx, id)
	if err != nil || r.ReadyAt.IsZero() { // make_ready comes first, and asks for the databases itself
		return 0, err
	}
	var addon herokuapi.Addon
	err = w.asAddon(ctx, id, func(token redact.Secret) (err error) {
		addon, err = w.Heroku.Addon(ctx, token, string(id)) // the app may have been renamed
		return err
	})
	if errors.Is(err, errNoToken) && r.HelperAppID != "" { // it was rebuilt from the bucket: its Helper App was called so then
		addon.ID, addon.App.ID, addon.App.Name, err = string(id), r.HelperAppID, r.HelperApp, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read add-on: %w", err)
	}
	list, err := w.patient.Attachments(ctx, w.ServiceToken, addon.App.ID)
	if err != nil {
		return 0, shared(err)
	}
	for _, a := range list {
		if a.Addon.ID == addon.ID && !a.LogInput.IsZero() { // Heroku may have changed it
			if err := w.Store.SaveLogInput(ctx, id, a.LogInput); err != nil {
				return 0, err
			}
		}
	}
	found := choose(list, addon)
	return len(found), w.Store.SaveFound(ctx, id, addon.App.Name, found)
}

// errServiceToken names the setting that is wrong.
var errServiceToken = errors.New("heroku does not accept SERVICE_TOKEN, the token of the service account")

// shared reads an answer to our service account: Heroku does not tell "no such app" from "not shared with you".
func shared(err error) error {
	if errors.Is(err, herokuapi.ErrUnauthorized) {
		return fmt.Errorf("%w: %w", errServiceToken, err)
	}
	if errors.Is(err, herokuapi.ErrForbidden) || errors.Is(err, herokuapi.ErrNotFound) {
		return &remora.Failure{Reason: remora.ReasonNotShared, Cause: err}
	}
	return err
}

// choose takes one attachment of each Postgres add-on: the named credential where there is one, and the owner's that is
// beside it by its name; else the owner's, refused. Of several named ones the first by name comes first, and the store stays with the
// one in use.
func choose(list []herokuapi.Attachment, self herokuapi.Addon) []postgres.Found {
	slices.SortFunc(list, byName)
	at := map[string]int{}
	var found []postgres.Found
	for _, a := range list {
		if a.Addon.ID == self.ID || !a.Postgres() {
			continue
		}
		f := postgres.Found{
			AddonID: a.Addon.ID, Addon: a.Addon.Name, OwnerApp: a.Addon.App.Name, Attachment: a.Name,
			Credential: a.Credential(), Plan: a.Addon.Plan.Name, Problem: problem(a, self.App.Name),
		}
		i, again := at[f.AddonID]
		switch {
		case !again:
			at[f.AddonID] = len(found)
			found = append(found, f)
		case found[i].Credential == "" && f.Credential != "":
			f.Beside = found[i].Attachment
			found[i] = f
		case found[i].Credential != "" && f.Credential == "":
			found[i].Beside = f.Attachment
		case found[i].Credential != "":
			found[i].Also = append(found[i].Also, postgres.Attached{Attachment: f.Attachment, Credential: f.Credential})
		}
	}
	return found
}

// byName is the order in which the first attachment of an add-on is taken.
func byName(a, b herokuapi.Attachment) int { return strings.Compare(a.Name, b.Name) }

// problem says why an attachment must not be used, with the commands that mend it.
func problem(a herokuapi.Attachment, helper string) string {
	if a.Credential() != "" {
		return ""
	}
	if remora.OwnerOnly(a.Addon.Plan.Name) {
		return "This database is of an Essential plan, which has the owner's credential only, and that one can change your data, so we do not use it. " +
			"Databases of Standard plans and above can have read-only credentials: with heroku pg:upgrade or a new database of such a plan it can be backed up."
	}
	return fmt.Sprintf("This attachment carries the database owner's credential, which can change your data, so we do not use it. "+
		"Make a read-only credential and attach that one instead: heroku pg:credentials:create %s --name remora_ro -a %s, then "+
		"heroku addons:detach %s -a %s and heroku addons:attach %s --credential remora_ro -a %s.",
		a.Addon.Name, a.Addon.App.Name, a.Name, helper, a.Addon.Name, helper)
}
