package dashboard

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/remora-backup/remora/internal/remora"
	"github.com/remora-backup/remora/internal/retention"
)

// retentionPart is how a database's backups are kept, on its page.
type retentionPart struct {
	retention.Standing
	Database remora.Database
	Words    string
	Next     string // what waits to come into force, in words; empty where nothing does
	Going    []retention.Verdict
	Held     []remora.Lock
}

// Zone is named where it is not UTC, which days begin by else.
func (r retentionPart) Zone() string {
	if r.Current.Zone == "UTC" {
		return ""
	}
	return r.Current.Zone
}

func readRetention(_ *Pages, _ *http.Request, _ remora.Session, page *databasePage) (*part, error) {
	now := page.Keeping
	out := retentionPart{Standing: now, Database: page.Database, Words: retention.Words(now.Current)}
	if now.Pending != nil {
		var err error
		out.Next = retention.Words(now.Pending.Retention)
		if out.Going, err = now.Preview(now.Pending.Retention); err != nil {
			return nil, err
		}
	}
	for _, l := range now.Locks {
		if now.Lock(l.Backup) != nil {
			out.Held = append(out.Held, l)
		}
	}
	return &part{"retention", "Retention", "retention", out}, nil
}

// keptOf says of each of the listed backups, shortly, until when it is kept or why.
func keptOf(now retention.Standing, listed []remora.Backup) (map[remora.BackupID]string, error) {
	verdicts, err := now.Decide()
	if err != nil {
		return nil, err
	}
	shown := make(map[remora.BackupID]bool, len(listed))
	for _, b := range listed {
		shown[b.ID] = true
	}
	out := make(map[remora.BackupID]string, len(listed))
	for i := range verdicts { // of which there may be thousands
		if v := &verdicts[i]; shown[v.Backup.ID] && v.Fate != retention.NotCounted {
			out[v.Backup.ID] = keptText(*v)
		}
	}
	return out, nil
}

func keptText(v retention.Verdict) string {
	locked := slices.ContainsFunc(v.Reasons, func(r retention.Reason) bool { return r.Because == retention.Locked })
	at, dated := v.Until()
	switch {
	case v.Fate == retention.Removed:
		return "goes soon"
	case locked:
		return "locked"
	case dated:
		return "until " + day(at) + " at least"
	}
	return v.Reasons[0].String()
}

// keepPart is why one backup is kept, on its page.
type keepPart struct {
	Backup  remora.Backup
	Verdict retention.Verdict // of no fate where it is damaged, until it goes
	Lock    *remora.Lock      // nil where it is not locked
	Left    int               // how many more may be locked
	Plan    remora.Plan
	Now     time.Time
}

func (p *Pages) keepPart(r *http.Request, s remora.Session, b remora.Backup) (*keepPart, error) {
	if !b.Stored() {
		return nil, nil //nolint:nilnil // no part
	}
	now, err := p.Store.Retention(r.Context(), s.Resource, b.Database)
	if err != nil {
		return nil, err
	}
	v, ok, err := now.Of(b.ID)
	if err != nil || !ok && !b.Damaged() { // it has gone since
		return nil, err
	}
	return &keepPart{b, v, now.Lock(b.ID), now.LocksLeft(), now.Plan, now.Now}, nil
}

// retentionPage is where it is changed. What was typed stays until it is saved, and is saved only after what it removes was
// shown.
type retentionPage struct {
	Frame    frame
	Database remora.Database
	Standing retention.Standing
	Words    string // the retention there is
	Form     retentionForm
	Zones    []string
	Wrong    string
	Looked   bool   // what it removes is shown
	Next     string // what was typed, in words
	Seen     string // stands for what was shown
	Going    []retention.Verdict
	Bytes    int64 // of those
	All      []retention.Verdict
	From     time.Time // when it would come into force
}

// retentionForm is what a person types.
type retentionForm struct {
	Rules []ruleField
	Zone  string
}

type ruleField struct {
	Name, Title, Hint, Value string
	Most                     int
}

var ruleFields = []ruleField{
	{Name: "last", Title: "The newest", Hint: "backups, whatever their age", Most: remora.MostOfLast},
	{Name: "days", Title: "All of the last", Hint: "days", Most: remora.MostOfDays},
	{Name: "hourly", Title: "Hourly", Hint: "the newest of each hour that has one, so many hours", Most: remora.MostOfHourly},
	{Name: "daily", Title: "Daily", Hint: "the newest of each day, so many days", Most: remora.MostOfDaily},
	{Name: "weekly", Title: "Weekly", Hint: "of each week, from Monday on", Most: remora.MostOfWeekly},
	{Name: "monthly", Title: "Monthly", Hint: "of each month", Most: remora.MostOfMonthly},
	{Name: "yearly", Title: "Yearly", Hint: "of each year", Most: remora.MostOfYearly},
}

func numbersOf(r *remora.Retention) []*int {
	return []*int{&r.Last, &r.Days, &r.Hourly, &r.Daily, &r.Weekly, &r.Monthly, &r.Yearly}
}

func retentionFormOf(r remora.Retention) retentionForm {
	f := retentionForm{Rules: slices.Clone(ruleFields), Zone: r.Zone}
	for i, n := range numbersOf(&r) {
		f.Rules[i].Value = strconv.Itoa(*n)
	}
	return f
}

func typedRetention(r *http.Request) retentionForm {
	f := retentionForm{Rules: slices.Clone(ruleFields), Zone: typed(r, "zone")}
	for i, x := range f.Rules {
		f.Rules[i].Value = typed(r, x.Name)
	}
	return f
}

// retention reads what was typed; an empty field is 0.
func (f retentionForm) retention() (remora.Retention, error) {
	r := remora.Retention{Zone: f.Zone}
	for i, n := range numbersOf(&r) {
		if f.Rules[i].Value == "" {
			continue
		}
		var err error
		if *n, err = strconv.Atoi(f.Rules[i].Value); err != nil {
			return r, remora.Invalid("%s must be a number from 0 to %d.", f.Rules[i].Title, f.Rules[i].Most)
		}
	}
	return r, retention.Check(r)
}

func (p *Pages) editRetention(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.retentionPage(r, s)
	if err != nil {
		return err
	}
	page.Form = retentionFormOf(page.Standing.Current)
	if page.Standing.Pending != nil {
		page.Form = retentionFormOf(page.Standing.Pending.Retention)
	}
	return p.render(w, http.StatusOK, "retention.html", page)
}

// saveRetention shows what a change would remove, and saves what was shown.
func (p *Pages) saveRetention(w http.ResponseWriter, r *http.Request, s remora.Session) error {
	page, err := p.retentionPage(r, s)
	if err != nil {
		return err
	}
	page.Form = typedRetention(r)
	want, err := page.Form.retention()
	if err == nil {
		err = page.look(want)
	}
	if remora.KindOf(err) == remora.KindInvalid && err != nil {
		page.Wrong = remora.Public(err, "")
		return p.render(w, http.StatusUnprocessableEntity, "retention.html", page)
	}
	if err != nil {
		return err
	}
	if r.PostFormValue("do") != "save" || r.PostFormValue("seen") != page.Seen {
		return p.render(w, http.StatusOK, "retention.html", page)
	}
	if _, err := p.Store.SetRetention(r.Context(), s.Resource, page.Database.ID, want, len(page.Going), s.Person()); err != nil {
		return err
	}
	http.Redirect(w, r, databaseURL(page.Database.ID)+"#retention", http.StatusSeeOther)
	return nil
}

// look says what would come of a retention.
func (page *retentionPage) look(r remora.Retention) (err error) {
	if page.Going, err = page.Standing.Preview(r); err != nil {
		return err
	}
	for _, v := range page.Going {
		page.Bytes += v.Backup.StoredSize
	}
	page.Looked, page.Next, page.Seen = true, retention.Words(r), fmt.Sprint(r)
	page.From = page.Standing.Now.Add(remora.RetentionGrace)
	return nil
}

func (p *Pages) retentionPage(r *http.Request, s remora.Session) (retentionPage, error) {
	var page retentionPage
	db, err := databaseID(r)
	if err != nil {
		return page, err
	}
	o, err := p.Store.Database(r.Context(), s.Resource, db, remora.Look{Most: 1})
	if err != nil {
		return page, err
	}
	page.Database = o.Databases[0]
	if page.Standing, err = p.Store.Retention(r.Context(), s.Resource, db); err != nil {
		return page, err
	}
	page.Frame = frame{"Retention of " + page.Database.Addon, "overview", o.Resource}
	page.Words = retention.Words(page.Standing.Current)
	page.Zones = []string{"UTC"}
	for _, z := range []string{page.Database.Rule.Zone, page.Standing.Current.Zone} {
		if z != "" && !slices.Contains(page.Zones, z) {
			page.Zones = append(page.Zones, z)
		}
	}
	all, err := page.Standing.Decide()
	for _, v := range all {
		if v.Fate != retention.NotCounted {
			page.All = append(page.All, v)
		}
	}
	return page, err
}

func (p *Pages) undoRetention(r *http.Request, s remora.Session, db remora.DatabaseID) error {
	return p.Store.UndoRetention(r.Context(), s.Resource, db, s.Person())
}

func (p *Pages) lockBackup(r *http.Request, s remora.Session, id remora.BackupID) error {
	return p.Store.LockBackup(r.Context(), s.Resource, id, r.PostFormValue("note"), s.Person())
}

func (p *Pages) unlockBackup(r *http.Request, s remora.Session, id remora.BackupID) error {
	return p.Store.UnlockBackup(r.Context(), s.Resource, id, s.Person())
}

// untilOf is the date before which no rule lets a backup go; empty where none can be told.
func untilOf(v retention.Verdict) string {
	if at, ok := v.Until(); ok && v.Fate == retention.Kept {
		return day(at)
	}
	return ""
}
