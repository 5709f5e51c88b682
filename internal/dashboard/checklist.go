package dashboard

import (
	"slices"
	"time"

	"github.com/remora-backup/remora/internal/remora"
)

// checklist is the way from nothing to a first verified backup.
type checklist struct {
	Steps []step
	Card  *card // the database that it is about; nil before one was seen
	Done  int

	ServiceAccount, HelperApp     string
	Addon, App, Credential, Owned string // as commands name them; Owned is the attachment of an owner's credential
}

// step is one of them. Says tells what is seen of it, and is empty where the commands say all.
type step struct {
	ID    string
	Title string
	State stepState
	Says  string
}

type stepState string

// The states of a step, as pages say them.
const (
	stepDone    stepState = "done"
	stepNow     stepState = "now"       // it is the customer's turn
	stepRunning stepState = "running"   // it is ours
	stepProblem stepState = "needs you" // it was tried and did not work
	stepLater   stepState = "later"
)

// Class is how the style sheet calls a state.
func (s stepState) Class() string {
	switch s {
	case stepDone:
		return "done"
	case stepProblem:
		return "failed"
	case stepRunning:
		return "running"
	case stepNow:
		return "late"
	}
	return "later"
}

// Open tells whether the step shows what is to be done.
func (s step) Open() bool { return s.State == stepNow || s.State == stepProblem }

// celebrated is how long a first verified backup is shown as the end of the list.
const celebrated = time.Hour

// checklist returns the list where there is no verified backup of any database yet, or the only one is the first and
// new; nil after that.
func (o overviewPage) checklist() *checklist {
	var shown *card
	for i, c := range o.Cards {
		if c.LastGood == nil && c.had() || c.LastGood != nil && (len(o.Cards) > 1 || !c.first()) {
			return nil
		}
		if shown == nil || shown.State != remora.DatabaseActive && c.State == remora.DatabaseActive {
			shown = &o.Cards[i]
		}
	}
	l := &checklist{Card: shown, ServiceAccount: o.ServiceAccount, HelperApp: o.HelperApp, Addon: "POSTGRES-ADDON", App: "YOUR-APP", Credential: "remora_ro"}
	if shown != nil {
		l.Addon = shown.Addon
		if shown.OwnerApp != "" {
			l.App = shown.OwnerApp
		}
		if shown.Credential != "" {
			l.Credential = shown.Credential
		} else {
			l.Owned = shown.Attachment
		}
	}
	l.Steps = []step{o.installed(), o.shared(), attached(shown), readOnly(shown), readable(shown), running(shown), verified(shown)}
	l.settle()
	return l
}

// first tells whether the card's good backup is its only one, and new, and nothing has come since that there is to see to.
func (c card) first() bool {
	return c.Stored.Backups == 1 && c.State == remora.DatabaseActive && c.Now.Sub(c.LastGood.EndedAt) <= celebrated &&
		c.Failing() == nil && !c.Refused() && c.Pause == nil
}

// had tells whether the database had a backup that is not there or not good any more.
func (c card) had() bool {
	return c.LastProof != nil || slices.ContainsFunc(c.Backups, func(b remora.Backup) bool { return b.PlainSize > 0 })
}

// settle lets a step wait for those before it, and counts. Sharing and attaching wait for nothing: who has the commands
// before them may run all in a row.
func (l *checklist) settle() {
	open := false
	for i := range l.Steps {
		s := &l.Steps[i]
		if s.State == stepDone {
			l.Done++
			continue
		}
		if open && s.ID != "attached" {
			s.State, s.Says = stepLater, ""
		}
		open = open || s.State != stepLater && (s.State == stepProblem || s.ID != "readonly" && s.ID != "readable")
	}
}

// Finished tells whether all is done.
func (l *checklist) Finished() bool { return l.Done == len(l.Steps) }

// waits tells whether the list waits for what only a listing of the attachments shows.
func (l *checklist) waits() bool {
	return l != nil && slices.ContainsFunc(l.Steps, func(s step) bool { return s.Open() && (s.ID == "shared" || s.ID == "attached") })
}

func (o overviewPage) installed() step {
	s := step{ID: "installed", Title: "The add-on is installed", State: stepDone}
	if o.Resource.State == remora.ResourceProvisioning {
		s.State, s.Says = stepRunning, "Heroku is handing it over to us. This takes a few seconds."
	}
	return s
}

func (o overviewPage) shared() step {
	s := step{ID: "shared", Title: "The Helper App is shared with us", State: stepNow}
	switch {
	case o.NotShared:
		s.State = stepProblem
	case len(o.Cards) > 0 || !o.Resource.ListedAt.IsZero():
		s.State = stepDone
	}
	return s
}

func attached(c *card) step {
	s := step{ID: "attached", Title: "A credential that can only read is attached to it", State: stepNow}
	switch {
	case c == nil:
	case c.State == remora.DatabaseActive:
		s.State = stepDone
	case c.State == remora.DatabaseRefused && c.Credential == "" && !remora.OwnerOnly(c.Plan):
		s.State, s.Says = stepProblem, remora.ReasonOwnerCredential.Sentence()
	case c.State == remora.DatabaseRefused:
		s.State, s.Says = stepProblem, c.Problem
	default:
		s.State, s.Says = stepProblem, "It was attached, and is not any more."
	}
	return s
}

func readOnly(c *card) step {
	return learned("readonly", "It can change nothing", c, remora.ReasonCanWrite)
}

func readable(c *card) step {
	return learned("readable", "It can read everything", c, remora.ReasonPermission, remora.ReasonRowSecurity, remora.ReasonLargeObject)
}

// learned is a step that a backup learns of when it begins, or a look at the credential before. against are the reasons
// that say no.
func learned(id, title string, c *card, against ...remora.Reason) step {
	s := step{ID: id, Title: title, State: stepLater}
	if c == nil {
		return s
	}
	why := remora.ReasonNone
	if c.Report != nil {
		if refused := c.Report.Refusal(); refused != nil {
			why = refused.Reason
		}
	} else if failing := c.Failing(); failing != nil {
		why = failing.Reason
	}
	switch {
	case slices.Contains(against, why):
		s.State, s.Says = stepProblem, why.Sentence()
	case c.LastGood != nil || c.Report != nil && c.Report.Failed == remora.ReasonNone && (why == remora.ReasonNone || id == "readonly"):
		s.State = stepDone
	case c.Running != nil:
		s.State, s.Says = stepRunning, "The backup asks the server first."
	}
	return s
}

func running(c *card) step {
	s := step{ID: "running", Title: "The first backup is made", State: stepNow}
	switch {
	case c == nil:
	case c.LastGood != nil:
		s.State = stepDone
	case c.Running != nil:
		s.State, s.Says = stepRunning, c.Running.Reason.Sentence()
	case c.Failing() != nil:
		s.State, s.Says = stepProblem, c.Failing().Reason.Sentence()
	}
	return s
}

func verified(c *card) step {
	s := step{ID: "verified", Title: "It is verified", State: stepRunning}
	if c != nil && c.LastGood != nil {
		s.State = stepDone
	}
	return s
}
