package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/remora-backup/remora/internal/remora"
)

// Database is the target of one attached credential, and how it stands.
type Database struct {
	ID            string       `json:"id"`
	Addon         string       `json:"addon" doc:"The Postgres add-on's name."`
	App           string       `json:"app,omitempty" doc:"The app that the Postgres add-on belongs to."`
	Attachment    string       `json:"attachment"`
	Credential    string       `json:"credential,omitempty" doc:"The credential's name; left out for the owner's own, which is refused."`
	OwnerAttached string       `json:"owner_attached,omitempty" doc:"An attachment, beside that one, that carries the owner's credential. It is not used; detach it."`
	AlsoAttached  List[string] `json:"also_attached,omitempty" doc:"Attachments, beside that one, that carry other read-only credentials. They are not used."`
	HerokuPlan    string       `json:"heroku_plan,omitempty" doc:"The Postgres add-on's."`
	State         string       `json:"state" enum:"active,refused,detached"`
	Problem       string       `json:"problem,omitempty" doc:"Where refused: why, and what to do."`
	ServerVersion string       `json:"server_version,omitempty"`
	SizeBytes     int64        `json:"size_bytes,omitempty" doc:"As the server counts it on its disk."`
	FoundAt       time.Time    `json:"found_at"`

	Health    Health    `json:"health"`
	NextRunAt time.Time `json:"next_run_at,omitzero" doc:"When the next backup is due; left out where none is."`
	Pause     *Pause    `json:"pause,omitempty" doc:"Of its schedule."`
	LastGood  *Backup   `json:"last_good,omitempty" doc:"The newest verified or proven backup."`
	Running   *Backup   `json:"running,omitempty" doc:"The backup that is queued or running."`
	Failing   *Backup   `json:"failing,omitempty" doc:"The newest backup, where it ended badly."`
	Stored    Stored    `json:"stored"`

	Credentials CredentialVerdict `json:"credential_check" doc:"What the permission doctor's newest report comes to."`
	ForgetAt    time.Time         `json:"forget_at,omitzero" doc:"When its backups begin to go, because somebody asked for it."`
	ProveAt     time.Time         `json:"prove_at,omitzero" doc:"When its newest backup is to be restored and compared."`
	LastProof   *Proof            `json:"last_proof,omitempty" doc:"The newest restore of any of its backups."`
	Overdue     string            `json:"overdue,omitempty" doc:"Which looks at what is stored are overdue."`
}

// Health is how a database stands.
type Health struct {
	State string `json:"state" enum:"fresh,late,stale,paused,never,refused,detached"`
	Says  string `json:"says"`
}

// Pause is a person's word that a schedule is to do nothing.
type Pause struct {
	At  time.Time `json:"at"`
	By  string    `json:"by"`
	Why string    `json:"why,omitempty"`
}

func pauseOf(p remora.Pause) Pause { return Pause{p.At, p.By, p.Why} }

// Stored is how much of a database lies in the store.
type Stored struct {
	Backups int   `json:"backups"`
	Bytes   int64 `json:"bytes"`
}

// CredentialVerdict is what a report comes to.
type CredentialVerdict struct {
	Verdict  string    `json:"verdict" enum:"unchecked,unknown,can_write,cannot_read,partial,asks,good" doc:"unchecked: nobody has looked; unknown: the database could not be asked; asks: a person is to acknowledge a finding."`
	Says     string    `json:"says"`
	At       time.Time `json:"at,omitzero"`
	Checking bool      `json:"checking" doc:"Somebody has asked for a look."`
}

func databaseOf(s remora.Summary) Database {
	h := s.Health()
	out := Database{
		ID: string(s.ID), Addon: s.Addon, App: s.OwnerApp, Attachment: s.Attachment, Credential: s.Credential, OwnerAttached: s.Beside, AlsoAttached: s.Also, HerokuPlan: s.Plan, State: string(s.State),
		Problem: s.Problem, ServerVersion: s.ServerVersion, SizeBytes: s.SizeBytes, FoundAt: s.FoundAt, Health: Health{h.State, h.Says},
		NextRunAt: s.NextRunAt, Pause: opt(s.Pause, pauseOf), LastGood: opt(s.LastGood, backupOf), Running: opt(s.Running, backupOf),
		Failing: opt(s.Failing(), backupOf), Stored: Stored{s.Stored.Backups, s.Stored.Bytes}, ProveAt: s.ProveAt, LastProof: opt(s.LastProof, proofOf),
		Overdue: s.OverdueSays(s.Now), ForgetAt: s.ForgetAt,
		Credentials: CredentialVerdict{Verdict: "unchecked", Says: "What this credential may do has not been looked at yet.", Checking: s.Checking},
	}
	if s.Audit != nil {
		out.Credentials.Verdict, out.Credentials.Says, out.Credentials.At = string(s.Audit.Verdict(s.Known)), s.Audit.Sentence(s.Known), s.Audit.At
	}
	return out
}

func databasesOf(o remora.Overview) List[Database] {
	return listOf(o.Databases, func(d remora.Database) Database { return databaseOf(o.Summary(d)) })
}

// Databases are all of an add-on's.
type Databases struct {
	Databases List[Database] `json:"databases"`
}

// Backups is a page of a database's backups, newest first.
type Backups struct {
	Backups List[Backup] `json:"backups"`
	Next    string       `json:"next,omitempty" doc:"Send it as before to get the backups before these."`
}

// Report is what the permission doctor found.
type Report struct {
	Verdict  string        `json:"verdict" enum:"unknown,can_write,cannot_read,partial,asks,good"`
	Says     string        `json:"says"`
	At       time.Time     `json:"at"`
	Role     string        `json:"role,omitempty" doc:"The credential's role on the server."`
	Findings List[Finding] `json:"findings"`
	More     bool          `json:"more" doc:"There was more than is listed."`
	Witness  string        `json:"witness,omitempty" enum:"nothing_written,others_wrote,follower,none" doc:"What the server's own count of writers says of a backup."`
	Failed   *Reason       `json:"failed,omitempty" doc:"Why the database could not be asked; there are no findings then."`
	Words    string        `json:"words,omitempty" doc:"The server's own, where it could not be asked."`
}

// Finding is one line of a report.
type Finding struct {
	Code         string           `json:"code" doc:"A stable name, such as table_write."`
	Severity     string           `json:"severity" enum:"deny,review,inherent,info,fatal,partial,future" doc:"deny: a power to change something; fatal: a backup would fail on it; partial: a backup would lack it; future: a later backup will fail on it; review: is it meant to be so?"`
	Object       string           `json:"object" doc:"What it is about, quoted as SQL."`
	Detail       string           `json:"detail"`
	Fix          string           `json:"fix,omitempty" doc:"SQL to run as the database's owner."`
	Acknowledged *Acknowledgement `json:"acknowledged,omitempty" doc:"Who has said that it is meant to be so."`
}

// Acknowledgement is a person's word that a finding is meant to be so.
type Acknowledgement struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

func reportOf(a remora.Audit, known []remora.Acknowledgement) Report {
	return Report{
		Verdict: string(a.Verdict(known)), Says: a.Sentence(known), At: a.At, Role: a.Role, More: a.More, Failed: reasonOf(a.Failed), Words: a.Words,
		Findings: listOf(a.Findings, func(f remora.Finding) Finding {
			out := Finding{Code: f.Code, Severity: string(f.Severity), Object: f.Object, Detail: f.Detail, Fix: f.Fix}
			if i := slices.IndexFunc(known, func(k remora.Acknowledgement) bool { return k.Code == f.Code && k.Object == f.Object }); i >= 0 {
				out.Acknowledged = &Acknowledgement{known[i].By, known[i].At}
			}
			return out
		}),
	}
}

// AcknowledgementRequest names a finding.
type AcknowledgementRequest struct {
	Code   string `json:"code" minLength:"1" maxLength:"1024" doc:"Of the finding."`
	Object string `json:"object" maxLength:"4096" doc:"Of the finding."`
}

func (a *API) databaseOperations(h huma.API) {
	type all struct{ Body Databases }
	add(h, a, huma.Operation{
		OperationID: "listDatabases", Method: http.MethodGet, Path: "/databases", Tags: []string{tagDatabases}, Summary: "All databases and how they stand",
	}, remora.ScopeRead, func(ctx context.Context, c caller, _ *empty) (*all, error) {
		o, err := a.Store.Overview(ctx, c.resource)
		return &all{Databases{databasesOf(o)}}, err
	})

	type one struct{ Body Database }
	add(h, a, huma.Operation{
		OperationID: "getDatabase", Method: http.MethodGet, Path: "/databases/{database}", Tags: []string{tagDatabases}, Summary: "One database and how it stands",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *OfDatabase) (*one, error) {
		v, err := a.database(ctx, c, *in, remora.Look{Most: 1})
		if err != nil {
			return nil, err
		}
		return &one{databaseOf(v.Summary(v.Databases[0]))}, nil
	})

	type look struct {
		OfDatabase
		Show   string `query:"show" enum:"good,failed,incomplete,canceled,removed" doc:"Some of them alone; all where it is left out."`
		Before string `query:"before" maxLength:"100" doc:"next of the page before."`
		Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	}
	type page struct{ Body Backups }
	add(h, a, huma.Operation{
		OperationID: "listBackups", Method: http.MethodGet, Path: "/databases/{database}/backups", Tags: []string{tagBackups}, Summary: "A database's backups, newest first",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *look) (*page, error) {
		at, _, err := parseCursor(in.Before)
		if err != nil {
			return nil, err
		}
		v, err := a.database(ctx, c, in.OfDatabase, remora.Look{States: remora.BackupFilter(in.Show).States(), Before: at, Most: in.Limit})
		if err != nil {
			return nil, err
		}
		out := Backups{Backups: listOf(v.Backups, backupOf)}
		if v.More {
			out.Next = cursor(v.Backups[len(v.Backups)-1].QueuedAt, "")
		}
		return &page{out}, nil
	})

	type made struct {
		Location string `header:"Location"`
		Body     Backup
	}
	add(h, a, huma.Operation{
		OperationID: "backUp", Method: http.MethodPost, Path: "/databases/{database}/backups", Tags: []string{tagBackups}, DefaultStatus: http.StatusAccepted,
		Summary: "Back up now", Description: "Where a backup of the database is queued or running already, that one is the answer, and none is added: asking again is safe.",
	}, remora.ScopeOperate, func(ctx context.Context, c caller, in *OfDatabase) (*made, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		b, err := a.Store.RequestBackup(ctx, c.resource, db, c.person())
		if err != nil {
			return nil, err
		}
		v, err := a.Store.BackupView(ctx, c.resource, b)
		return &made{Home + "/backups/" + string(b), backupOf(v.Backup)}, err
	})

	type report struct{ Body Report }
	add(h, a, huma.Operation{
		OperationID: "getReport", Method: http.MethodGet, Path: "/databases/{database}/report", Tags: []string{tagDatabases},
		Summary: "What its credential may do", Description: "The permission doctor's newest report. Where nobody has looked yet it is not found.",
	}, remora.ScopeRead, func(ctx context.Context, c caller, in *OfDatabase) (*report, error) {
		v, err := a.database(ctx, c, *in, remora.Look{Most: 1})
		if err != nil {
			return nil, err
		}
		s := v.Summary(v.Databases[0])
		if s.Audit == nil {
			return nil, remora.NotFound("report yet")
		}
		return &report{reportOf(*s.Audit, s.Known)}, nil
	})

	add(h, a, huma.Operation{
		OperationID: "checkCredential", Method: http.MethodPost, Path: "/databases/{database}/check", Tags: []string{tagDatabases}, DefaultStatus: http.StatusAccepted,
		Summary: "Look again at what its credential may do", Description: "credential_check.checking of the database is true until that has been done.",
	}, remora.ScopeOperate, a.onDatabase(func(ctx context.Context, c caller, db remora.DatabaseID) error {
		return a.Store.RequestAudit(ctx, c.resource, db, c.person())
	}))

	type finding struct {
		OfDatabase
		Body AcknowledgementRequest
	}
	add(h, a, huma.Operation{
		OperationID: "acknowledgeFinding", Method: http.MethodPost, Path: "/databases/{database}/acknowledgements", Tags: []string{tagDatabases},
		Summary: "Say that a finding to review is meant to be so",
	}, remora.ScopeAdmin, func(ctx context.Context, c caller, in *finding) (*empty, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		return &empty{}, a.Store.Acknowledge(ctx, c.resource, db, in.Body.Code, in.Body.Object, c.person())
	})
}

func (a *API) database(ctx context.Context, c caller, in OfDatabase, look remora.Look) (remora.DatabaseView, error) {
	db, err := in.database()
	if err != nil {
		return remora.DatabaseView{}, err
	}
	return a.Store.Database(ctx, c.resource, db, look)
}

// onDatabase is an operation that does something with one database, and of which there is no more to say than that.
func (a *API) onDatabase(do func(context.Context, caller, remora.DatabaseID) error) func(context.Context, caller, *OfDatabase) (*empty, error) {
	return func(ctx context.Context, c caller, in *OfDatabase) (*empty, error) {
		db, err := in.database()
		if err != nil {
			return nil, err
		}
		return &empty{}, do(ctx, c, db)
	}
}
